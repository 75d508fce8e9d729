"""The queue, the parameters and the socket, without a network or a model."""

import socket

import pytest

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.options.draw import DrawOptions
from ddbm_cli.serve.fair import Client, FairQueue
from ddbm_cli.serve.limits import Limits, Places, Refused
from ddbm_cli.serve.parameters import NAME, read_parameters
from ddbm_cli.serve.sockets import is_loopback, listen

LIMITS = Limits.of(DrawOptions())


def queue(**items):
    made = FairQueue()
    for name, each in items.items():
        for item in each:
            made.put(Client("here", name), item)
    return made


def taken(made, most=1, alike=lambda item: 0):
    found = []
    while batch := made.take(lambda item: most, alike):
        found.append(batch)
    return found


def test_clients_take_turns_however_many_requests_one_sends():
    assert taken(queue(a=[1, 2, 3, 4], b=[10], c=[20, 21])) == [[1], [10], [20], [2], [21], [3], [4]]


def test_inventing_names_only_divides_the_turns_of_an_address():
    made = FairQueue()
    for number in range(6):
        made.put(Client("there", str(number)), number)
    made.put(Client("here"), 100)
    made.put(Client("here"), 101)
    order = [batch[0] for batch in taken(made)]
    assert order.index(101) <= 3


def test_a_batch_holds_items_that_are_alike_and_no_client_waits_for_it():
    made = queue(a=["x1", "x2", "x3"], b=["y1"], c=["x4"])
    batches = taken(made, most=3, alike=lambda item: item[0])
    assert batches == [["x1", "x4", "x2"], ["y1"], ["x3"]]
    assert len(made) == 0


def test_dropped_items_leave_the_queue():
    made = queue(a=[1, 2], b=[3])
    made.drop(lambda item: item != 2)
    assert len(made) == 1 and taken(made) == [[2]]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ([("nfe", "0")], "--nfe"),
        ([("nfe", "201")], "201"),
        ([("draws", "17")], "17"),
        ([("nfe", "many")], "--nfe"),
        ([("seed", "-1")], "--seed"),
        ([("sampler", "best")], "best"),
        ([("keep_size", "perhaps")], "keep_size"),
        ([("see", "1")], "'see'"),
        ([("seed", "1"), ("seed", "2")], "twice"),
        ([("nfe", "3"), ("steps", "3")], "exclusive"),
        ([("name", "a\nb")], "name"),
        ([("class", "x" * 1001)], "class"),
        ([("output", "/etc/passwd")], "output"),
        ([("mask", "/etc/passwd")], "mask"),
    ],
)
def test_wrong_parameters_are_answered_in_two_lines(given, word):
    with pytest.raises(DdbmError) as error:
        read_parameters(given, LIMITS)
    assert word in error.value.message and error.value.hint
    assert "\n" not in error.value.message + error.value.hint


def test_parameters_are_options_of_translate():
    asked = read_parameters([("keep-size", "true"), ("draws", "3"), ("seed", "7"), ("trajectory", "1")], LIMITS)
    assert asked.options.keep_size and list(asked.draws) == [0, 1, 2] and asked.options.seed == 7 and asked.trajectory


@pytest.mark.parametrize("name", ["", ".", "..", "-", "/", "a/..", "\\"])
def test_a_name_is_a_file_name_and_never_a_path(name):
    assert read_parameters([("name", name)], LIMITS).options.source == NAME
    assert read_parameters([("name", f"../../{name}x.png")], LIMITS).options.source.endswith("x.png")


def test_places_are_bounded_and_given_back():
    places = Places(1)
    with places, pytest.raises(Refused) as refused, places:
        pass
    assert refused.value.status == 503
    with places:
        pass


def test_addresses_of_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.com", "127.0.0.1.example.com", "")))


def test_a_port_that_is_taken_and_a_foreign_address_are_two_lines():
    with listen("127.0.0.1", 0) as first, pytest.raises(UsageError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])
    for host in ("203.0.113.1", "no such host"):
        with pytest.raises(UsageError, match="--host"):
            listen(host, 0)


def test_the_command_explains_a_port_that_is_taken_without_torch(ddbm, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = ddbm("draw", "--port", taken.getsockname()[1])
    assert code == 2 and "is in use" in err and "--port 0" in err


def test_a_missing_extra_is_explained(ddbm, monkeypatch):
    monkeypatch.setattr("ddbm_cli.serve.sockets.LIBRARIES", ("no_such_library",))
    code, _, err = ddbm("draw")
    assert code == 2 and "pip install 'ddbm-cli[serve]'" in err


@pytest.mark.parametrize(
    "wrong", [("--port", "99999"), ("--max-nfe", "0"), ("-m", "nothing-like-this"), ("-d", "abacus")]
)
def test_wrong_arguments_are_two_lines(ddbm, wrong):
    code, _, err = ddbm("draw", *wrong)
    assert code in (2, 4) and "Traceback" not in err and len(err.strip().splitlines()) == 2
