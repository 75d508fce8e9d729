"""Registries with random faults: each costs one table, or the file, and one line of explanation.

The mutations are drawn from fixed seeds: of values, and of the bytes of the file.
"""

import copy
import json
import random
import time

import pytest

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.models.importers import card_of
from ddbm_cli.registry import parse, read_registry
from ddbm_cli.registry.locate import at_a_glance, conversion, conversions
from tests.foreign import entry
from tests.models.test_fuzz_cards import VALUES, places

PLAIN = {"task": "a -> b", "repo": "me/plain", "file": "model.safetensors", "licence": "MIT", "size": 3}
FIELDS = ["name", "task", "url", "revision", "sha256", "builtin", "origin", "packaged", "path", "fingerprint", "card"]
WRONG = ["../../x", "/etc/passwd", "a\\b", "org/repo/x", "a/..", "-rf/x", ".", "\x07", "é/ü", "0" * 64, "G" * 64]
"""Values that are wrong in this place, next to those that are wrong in any."""


def table():
    """Return the table of a model that is converted, with a card."""
    foreign = entry()
    facts = {name: getattr(foreign, name) for name in ("task", "repo", "file", "importer", "licence")}
    card = {name: value for name, value in foreign.card.items() if value not in (None, {}, [])}
    return facts | {"parameters": 5, "card": json.loads(json.dumps(card))}


def toml(value):
    """Return the TOML of a value; None and infinite numbers, which it lacks, are left as words that are no TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def mutated(draw):
    """Return the bytes of a registry with one fault in one table; a good table comes before and after it."""
    body = copy.deepcopy(draw.choice([PLAIN, table(), table()]))
    for _ in range(draw.choice([1, 1, 2])):
        place = draw.choice([each for each in places(body) if each])
        container = body
        for key in place[:-1]:
            container = container[key]
        value = copy.deepcopy(draw.choice([*VALUES, *WRONG]))
        kind = draw.random()
        if kind < 0.1:
            del container[place[-1]]
        elif kind < 0.3:
            body[draw.choice(FIELDS)] = value
        else:
            container[place[-1]] = value
    name = draw.choice(["mine", "mine", "mine", "", "a/b", "../x", "\x1b[31m", "n" * 5000, "diode-vp-256"])
    tables = [("first", PLAIN), (name, body), ("last", PLAIN)]
    text = "".join(
        f"[{json.dumps(name)}]\n" + "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in each.items())
        for name, each in tables
    ).encode()
    if draw.random() < 0.3:
        at = draw.randrange(len(text))
        text = (
            text[:at]
            + draw.choice([b"", b"[", b"\xff\xfe", b"\0", b"[[a]]\n", b"=", draw.randbytes(9)])
            + text[at + draw.randrange(4) :]
        )
    return text


def used(registry):
    """Ask everything of all tables that are not the package's."""
    for name, found in registry.items():
        if found.packaged:
            continue
        assert (str(parse(name).source), found.about_bytes, at_a_glance(found), found.facts()) is not None
        for ask in (lambda entry: entry.hub_file, conversion, conversions, card_of):
            try:
                ask(found)
            except DdbmError as error:
                one_line(error)


def one_line(error):
    assert error.message and error.hint and "\n" not in error.message and len(error.message) < 600, error.message


@pytest.mark.parametrize("count", [60, pytest.param(450, marks=pytest.mark.slow)])
def test_mutated_registries(tmp_path, monkeypatch, hub, ddbm, count):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDBM_WEIGHTS", raising=False)
    draw, reported, whole = random.Random(count), 0, 0
    for number in range(count):
        (tmp_path / "weights.toml").write_bytes(mutated(draw))
        began = time.process_time()
        registry = read_registry()
        used(registry)
        for problem in registry.problems:
            one_line(problem)
        good = {"first", "last"} <= set(registry)
        reported += bool(registry.problems)
        whole += not good
        assert good or registry.problem_of("") or registry.problems
        if number % 10 == 0:
            for command in (["list"], ["list", "--json"], ["verify", "first"], ["info", "mine"]):
                code, out, err = ddbm("weights", *command)
                assert code in (0, 3, 4) and "unexpected" not in err and "Traceback" not in err, err
                assert b"\x1b" not in out and "\x1b" not in err
        assert time.process_time() - began < 20
    assert reported > count / 2 and whole < count / 2
    assert not hub.requests
