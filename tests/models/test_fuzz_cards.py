"""Cards with random wrong values: each is refused in one line, or loads a model that can sample. All in bounded memory.

The mutations are drawn from fixed seeds. They run in a process of their own with a limit on its memory.
"""

import copy
import json
import random

import pytest

from ddbm_cli.models.card import describe_card
from ddbm_cli.models.checkpoint import write_tensors
from ddbm_cli.registry.header import HEADER_KEY
from tests import forked
from tests.tiny import tiny_card, tiny_weights

TRY = """
import json, pathlib, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
import torch
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.models import load_model
from ddbm_cli.registry.header import read_card_body
from ddbm_cli.samplers import NoiseSource, finish

for line in sys.stdin:
    file, began = pathlib.Path(line.strip()), time.monotonic()
    try:
        model = load_model(file, device="cpu")
        size = model.card.preprocess.size
        source = torch.zeros(1, 3, size, size)
        plan = model.plan()
        if plan.nfe <= 20:
            finish(model.translate(source, NoiseSource(0, ["a"]), plan))
        word = "loaded"
    except DdbmError as error:
        assert error.message and "\\n" not in error.message and len(error.message) < 600, error.message
        word = "refused"
    try:
        read_card_body(file)
    except DdbmError:
        pass
    seconds, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert seconds < 15 and peak < 3000, (file, seconds, peak)
    print(file.name, word, flush=True)
"""

VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 16, 64, 1000, 2**14, 2**31, 2**63, 10**30, -(10**30), 0.0, -0.5, 0.5, 1.5,
    1e-300, 1e300, "", "x", "adm", "16", "a" * 10_000, "\x1b[31m", "\u202e", [], [1], [1, 2], [-1], [1] * 100,
    [2**14] * 12, {}, {"name": "adm"}, {"name": 3}, {"name": "heun"}, {"name": []}, [[[[]]]], {"a": {"b": {"c": {}}}},
]  # fmt: skip


def places(value, path=()):
    """Yield the places of all values of nested dicts and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutated(body, draw):
    """Return a card with one or two values replaced, removed or added."""
    card = json.loads(json.dumps(body))
    for _ in range(draw.choice([1, 1, 1, 2])):
        place = draw.choice([each for each in places(card) if each])
        container = card
        for key in place[:-1]:
            container = container[key]
        kind, value = draw.random(), copy.deepcopy(draw.choice(VALUES))
        if kind < 0.1:
            del container[place[-1]]
        elif kind < 0.2 and isinstance(container, dict):
            container[draw.choice(["x", "classes", "name", "steps", "size", "intervals"])] = value
        else:
            container[place[-1]] = value
    return card


def deep(count):
    """Return the JSON of a card that is nested too deeply."""
    return '{"format": 2, "network": ' + "[" * count + "]" * count + "}"


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_cards(tmp_path, count):
    prior = {"kind": "prior", "concat_source": False, "path": {"name": "ddpm", "schedule": "linear"}}
    prior["network"] = tiny_card().network | {"in_channels": 3, "classes": 4}
    prior["defaults"] = tiny_card().defaults | {"start": {"name": "prior"}}
    pix2pix = {"network": {"name": "pix2pix", "channels": 4, "depth": 3}}
    draw, names = random.Random(count), []
    for changes in ({}, prior, pix2pix):
        card = tiny_card(**changes)
        weights, body = tiny_weights(card), describe_card(card)
        texts = [json.dumps(mutated(body, draw)) for _ in range(count // 3)]
        texts += [deep(900), deep(100_000), "[]", "3", "null", "", "{", '{"format": 2}', json.dumps(body)]
        for text in texts:
            names.append(tmp_path / f"{len(names)}.safetensors")
            write_tensors(names[-1], weights, {HEADER_KEY: text})
    code, out, err = forked.run(TRY, action=forked.script, stdin="\n".join(map(str, names)).encode())
    assert code == 0, err[-3000:]
    words = dict(line.split() for line in out.decode().splitlines())
    assert len(words) == len(names)
    refused = sum(word == "refused" for word in words.values())
    assert count / 3 < refused < len(names) - 2
    assert words[names[-1].name] == "loaded"
