"""Files of a run that are damaged, of wrong types or contradictory: one line of error, never a traceback."""

import json
import random
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training.state import HEADER_KEY
from tests.tiny import write_pairs
from tests.training.test_training import tiny_request

VALUES = [None, True, -1, 0, 10**30, 1e308, "x", "", "\x1b[2J", [], [1], {}, {"a": {}}, ["a", None], "9" * 400, "\x00"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    write_pairs(root / "pairs", 12)
    list(run(tiny_request(root, steps=2, validate_every=1)))
    return root


@pytest.fixture
def folder(made):
    """The run, as it was made, whatever the last test did to it."""
    folder = made / "run"
    before = {name: (folder / name).read_bytes() for name in ("config.json", "state.safetensors", "results.csv")}
    yield folder
    for name, body in before.items():
        if (folder / name).is_dir():
            (folder / name).rmdir()
        (folder / name).write_bytes(body)


def outcome(folder):
    """Resume without training; the only errors that may come are explained ones."""
    try:
        list(run(request({"device": "cpu"}, resume=folder), dry_run=True))
    except DdbmError as error:
        assert error.message and error.hint and "\n" not in error.message
        return error
    return None


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_config_with_wrong_values_is_explained(folder, count):
    body = json.loads((folder / "config.json").read_text())
    places = [(name,) for name in body] + [("recipe", name) for name in body["recipe"]]
    places += [("sampling", name) for name in body["sampling"]] + [("images", name) for name in body["images"]]
    dice = random.Random(0)
    for place in places:
        for value in dice.sample(VALUES, count):
            changed = json.loads(json.dumps(body))
            table = changed if len(place) == 1 else changed[place[0]]
            table[place[-1]] = value
            (folder / "config.json").write_text(json.dumps(changed))
            outcome(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '"x"', "{}", '{"data": []}', "[" * 50_000, '{"a":' * 9_000, "\xff\xfe", "9" * 5000],
    ids=lambda text: text[:12],
)
def test_config_that_is_none_is_explained(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert isinstance(outcome(folder), UsageError)


def test_a_huge_config_is_not_read(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**33)
    assert "longer than" in outcome(folder).message


def test_a_folder_in_place_of_a_file_is_explained(folder):
    for name in ("config.json", "state.safetensors", "results.csv"):
        body = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).mkdir()
        with pytest.raises(DdbmError):
            list(run(request({"device": "cpu"}, resume=folder)))
        (folder / name).rmdir()
        (folder / name).write_bytes(body)


def test_a_network_larger_than_the_memory_is_refused(folder):
    body = json.loads((folder / "config.json").read_text())
    body["network"] = "adm:channels=16384,multipliers=8-8,blocks=4,head_channels=64"
    (folder / "config.json").write_text(json.dumps(body))
    assert outcome(folder) is not None


def state_of(folder):
    with safe_open(folder / "state.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


FACTS = [
    {}, [], "x", {"step": 1}, {"step": -1, "seconds": 0, "best": 0}, {"step": 2**60, "seconds": 0, "best": 0},
    {"step": "x", "seconds": 0, "best": 0}, {"step": 1, "seconds": float("nan"), "best": 0},
    {"step": 1, "seconds": 0, "best": 0, "notes": []},
    {"step": 1, "seconds": 0, "best": 0, "notes": {"seen": 3}},
    {"step": 1, "seconds": 0, "best": 0, "notes": {"seen": {"training": "\x1b"}}},
    {"step": 1, "seconds": 0, "best": 0, "validated": "x"},
]  # fmt: skip


@pytest.mark.parametrize("facts", FACTS, ids=str)
def test_a_state_with_wrong_facts_is_explained(folder, facts):
    tensors, _ = state_of(folder)
    save_file(tensors, folder / "state.safetensors", {HEADER_KEY: json.dumps(facts)})
    with pytest.raises(DdbmError):
        list(run(request({"device": "cpu"}, resume=folder)))


def test_a_state_with_a_wrong_budget_is_explained(folder):
    tensors, header = state_of(folder)
    for budget in (3, [], {"seconds": "x"}, {"used": None}, {"seconds": 3600, "used": -1e300}):
        facts = json.loads(header[HEADER_KEY])
        facts["notes"]["budget"] = budget
        save_file(tensors, folder / "state.safetensors", {HEADER_KEY: json.dumps(facts)})
        with pytest.raises(DdbmError):
            list(run(request({"device": "cpu", "hours": 1.0}, resume=folder), dry_run=True))


@pytest.mark.parametrize("kind", ["missing", "more", "shape", "type", "moment", "scalar", "nan", "no header"])
def test_a_state_with_wrong_tensors_is_explained(folder, kind):
    tensors, header = state_of(folder)
    network = next(name for name in tensors if name.startswith("network.network."))
    moment = next(name for name in tensors if name.endswith(".exp_avg"))
    if kind == "missing":
        del tensors[network]
    elif kind == "more":
        tensors["optimizer.99999.exp_avg"] = torch.zeros(1)
    elif kind == "shape":
        tensors[network] = torch.zeros(3, 3, 3)
    elif kind == "type":
        tensors[network] = torch.zeros_like(tensors[network], dtype=torch.int8)
    elif kind == "moment":
        del tensors[moment]
    elif kind == "scalar":
        tensors[moment.replace("exp_avg", "step")] = torch.zeros(7)
    elif kind == "nan":
        tensors[network] = torch.full_like(tensors[network], torch.nan)
    save_file(tensors, folder / "state.safetensors", None if kind == "no header" else header)
    with pytest.raises(DdbmError, match="cannot resume"):
        list(run(request({"device": "cpu"}, resume=folder), dry_run=True))


def test_a_state_that_is_cut_or_claims_too_much_is_explained(folder):
    body = (folder / "state.safetensors").read_bytes()
    dice = random.Random(0)
    damaged = [body[:size] for size in (0, 7, 8, 100, len(body) // 2, len(body) - 1)]
    damaged += [struct.pack("<Q", size) + body[8:] for size in (0, 2**20, 2**40, 2**63)]
    for _ in range(10):
        place = dice.randrange(8, 4000)
        damaged.append(body[:place] + bytes([dice.randrange(256)]) + body[place + 1 :])
    for each in damaged:
        (folder / "state.safetensors").write_bytes(each)
        outcome(folder)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step\n" + "9" * 5000, "\x00\x00", "step,step\n1,2\n", '"' * 200_000])
def test_odd_tables_of_results_are_explained(folder, text):
    (folder / "results.csv").write_text(text)
    try:
        list(run(request({"device": "cpu"}, resume=folder)))
    except DdbmError as error:
        assert "results.csv" in error.message
