"""A hundred pulls from a hub that fails in every way, by a seeded hand: never a bad file, always a way on."""

import random
from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry import HubFile, cache, transfer
from ddbm_cli.registry import hub as registry
from ddbm_cli.registry.locate import finish
from tests.hub import answers, cut, slow, wrong_bytes

FAULTS = {
    "cut": lambda hand: cut(hand.randrange(20_000)),
    "down at the question": lambda hand: answers(hand.choice([500, 502, 503]), "HEAD"),
    "down at the download": lambda hand: answers(hand.choice([500, 503, 429])),
    "wrong bytes": lambda hand: wrong_bytes(),
    "slow": lambda hand: slow(0.02),
    "refused": lambda hand: answers(401, hand.choice(["HEAD", "GET"])),
    "not found": lambda hand: answers(404, "HEAD", X_Error_Code="EntryNotFound"),
    "odd": lambda hand: answers(418, hand.choice(["HEAD", "GET"])),
}
FINAL = {"refused", "not found", "odd"}


def disturb(hub, hand):
    """Lay out up to eight faults; sometimes the server has no ranges."""
    hub.ranges = hand.random() < 0.8
    kinds = hand.choices(list(FAULTS), [1 if each in FINAL else 5 for each in FAULTS], k=hand.randrange(1, 6))
    repeated = [kind for kind in kinds for _ in range(hand.choice([1, 1, 1, 6]))]
    hub.faults[:] = [FAULTS[kind](hand) for kind in repeated]
    return set(kinds)


def test_a_hundred_faulted_pulls(hub, monkeypatch):
    monkeypatch.setattr(transfer, "REPORT_EVERY", 4_000)
    hand = random.Random(20231)
    seen, good, refused, resumed = set(), 0, 0, 0
    for number in range(100):
        name, body = f"org/repo-{number}", hand.randbytes(hand.randrange(1_000, 40_000))
        hub.add(name, {"model.safetensors": body})
        file = HubFile(name, "model.safetensors", fixed=True)
        seen |= disturb(hub, hand)
        steps = registry.pull(file)
        try:
            if hand.random() < 0.3:  # the user stops it in the middle
                next(steps, None)
                steps.close()
                raise ModelError("stopped", hint="again")
            record = finish(steps)
            assert Path(record.path).read_bytes() == body
            good += 1
        except ModelError as error:
            assert error.message and error.hint and error.exit_code == 4
            here = cache.cached(file)  # nothing, or the whole: never a part
            assert here is None or Path(here.path).read_bytes() == body
            refused += 1
        hub.faults.clear()
        hub.ranges = True
        hub.requests.clear()
        assert Path(finish(registry.pull(file)).path).read_bytes() == body
        resumed += any(each.first for each in hub.downloads())
    assert seen == set(FAULTS)
    assert good > 20 and refused > 20 and resumed > 5


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_file_is_never_taken_for_the_first(hub, seed):
    """The hub changes the file under the same name while downloads break; only the first one may be used."""
    hand = random.Random(seed)
    file = HubFile("org/repo", "model.safetensors", fixed=True)
    bodies = [hand.randbytes(20_000) for _ in range(3)]
    hub.add(file.repo, {file.file: bodies[0]})
    finish(registry.pull(file))
    for _ in range(8):
        cache.remove(file)
        now = hand.choice(bodies)
        hub.add(file.repo, {file.file: now})
        disturb(hub, hand)
        try:
            record = finish(registry.pull(file))
            assert now == bodies[0] == Path(record.path).read_bytes()
        except ModelError:
            assert cache.cached(file) is None
    hub.faults.clear()
    hub.add(file.repo, {file.file: bodies[0]})
    assert Path(finish(registry.pull(file)).path).read_bytes() == bodies[0]
