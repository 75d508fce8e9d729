"""Files that mean ill, or were damaged: a message and nothing else. No code is run, and no memory is asked for that a
file only claims: all are tried in a process of their own, whose peak is looked at after each.
"""

import json
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from tests.foreign import TABLE, foreign_weights, write_foreign
from tests.tiny import write_tiny

TRY = """
import pathlib, resource, sys
import torch
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.models import load_model
from ddbm_cli.models.importers import import_file
from ddbm_cli.registry import read_registry

entry = read_registry()["foreign"]
root = pathlib.Path(sys.argv[1])


def attempt(file):
    try:
        if file.suffix == ".safetensors":
            load_model(file, device="cpu")
        import_file(file, root / "out.safetensors", entry if file.suffix == ".pt" else None)
    except DdbmError as error:
        assert error.message and error.hint and "\\n" not in error.message, error
        return "refused"
    return "read"


attempt(root / "good.pt"), attempt(root / "good.safetensors")
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.stdin.read().split():
    file, before = root / name, peak()
    word = attempt(file)
    grown = peak() - before
    # Below some megabytes it is the allocator's and the interpreter's own.
    assert grown <= 2 * file.stat().st_size + 8e6, (name, grown)
    print(name, word, flush=True)
"""


def run(root: Path, names: list[str]) -> dict[str, str]:
    environment = {"DDBM_WEIGHTS": str(root / "mine.toml"), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(root)],
        input=" ".join(names),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (root / "ran").exists(), "code was run"
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    (root / "mine.toml").write_text(TABLE)
    write_foreign(root / "good.pt")
    write_tiny(root / "good.safetensors")
    return root


def header(body: dict, length: int | None = None) -> bytes:
    text = json.dumps(body).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def absurd(**changes) -> bytes:
    """A header that claims a tensor."""
    return header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes}) + bytes(4)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_made_by_hand(root):
    made = {
        "empty.safetensors": b"",
        "short.safetensors": b"\x01",
        "huge-header.safetensors": struct.pack("<Q", 2**63) + b"{}",
        "long-header.safetensors": header({}, 2**40),
        "no-json.safetensors": struct.pack("<Q", 8) + b"notjson!",
        "deep.safetensors": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "wide.safetensors": header(
            {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
        ),
        "shape.safetensors": absurd(shape=[2**40, 2**40]),
        "negative.safetensors": absurd(shape=[-1]),
        "beyond.safetensors": absurd(shape=[2**30], data_offsets=[0, 2**32]),
        "type.safetensors": absurd(dtype="F999"),
        "words.safetensors": b"this is no model\n" * 100,
        "empty.pt": b"",
        "words.pt": b"this is no model\n" * 100,
        "zip.pt": b"PK\x05\x06" + bytes(18),
    }
    for name, body in made.items():
        (root / name).write_bytes(body)
    torch.save({"w": Evil(root / "ran")}, root / "evil.pt")
    torch.save(Evil(root / "ran"), root / "evil-old.pt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(root / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))
    torch.save(foreign_weights() | {"out.0.weight": torch.full((16,), torch.nan)}, root / "nan.pt")
    torch.save({"out.2.weight": torch.ones(1).expand(2**20, 2**20)}, root / "expanded.pt")
    names = [*made, "evil.pt", "evil-old.pt", "bomb.pt", "nan.pt", "expanded.pt"]
    assert run(root, names) == dict.fromkeys(names, "refused")


def mutated(body: bytes, draw: random.Random) -> bytes:
    """A body with some bytes changed, cut out, put in, or its end cut off; oftenest where its structure is told."""
    kind, spot = draw.choice(["flip", "flip", "flip", "cut", "drop", "insert"]), draw.random() ** 4
    place = int(spot * (len(body) - 1)) if draw.random() < 0.5 else len(body) - 1 - int(spot * (len(body) - 1))
    if kind == "cut":
        return body[:place]
    if kind == "drop":
        return body[:place] + body[place + draw.randrange(1, 64) :]
    if kind == "insert":
        return body[:place] + draw.randbytes(draw.randrange(1, 64)) + body[place:]
    changed = bytearray(body)
    for _ in range(draw.randrange(1, 16)):
        changed[min(len(body) - 1, place + draw.randrange(64))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_mutated(root, count):
    """Some are read: a changed weight is a weight. Most are refused, and none does anything else."""
    draw, names = random.Random(count), []
    for index in range(count):
        suffix = (".pt", ".safetensors")[index % 2]
        names.append(f"mutated-{index}{suffix}")
        (root / names[-1]).write_bytes(mutated((root / f"good{suffix}").read_bytes(), draw))
    words = run(root, names)
    assert list(words) == names and sum(word == "refused" for word in words.values()) > count / 3
