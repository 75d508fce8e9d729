"""Hostile and damaged files: an error message and nothing else. No code is run, and no memory is allocated that a file
only claims: all are tried in a process of their own, whose peak is measured after each.
"""

import io
import json
import pickle
import random
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.importers.container import open_checkpoint
from tests.foreign import TABLE, foreign_weights, write_foreign
from tests.tiny import write_tiny

TRY = """
import pathlib, resource, sys, time
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
    file, before, began = root / name, peak(), time.process_time()
    word = attempt(file)
    assert time.process_time() - began < 15, name
    grown = peak() - before
    # Below some megabytes it is the allocator's and the interpreter's own; a pickle's lists take more than their bytes.
    assert grown <= 2 * file.stat().st_size + (1e8 if name.endswith("-pickle.pt") else 8e6), (name, grown)
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


@pytest.fixture(scope="module")
def words(root):
    """What became of each hostile file, by kind; read in one process, those that may take more memory last."""
    kinds = {"mutated": write_mutated(root, 40), "by hand": write_by_hand(root), "pickles": write_pickles(root)}
    found = run(root, [name for names in kinds.values() for name in names])
    return {kind: {name: found.get(name) for name in names} for kind, names in kinds.items()}


@pytest.mark.parametrize("kind", ["by hand", "pickles"])
def test_files_made_by_hand_are_refused(words, kind):
    """Wrong headers and archives, and pickles that ask for memory or time that the file does not have."""
    assert words[kind] == dict.fromkeys(words[kind], "refused")


def write_by_hand(root):
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
    with zipfile.ZipFile(root / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))
    torch.save(foreign_weights() | {"out.0.weight": torch.full((16,), torch.nan)}, root / "nan.pt")
    torch.save({"out.2.weight": torch.ones(1).expand(2**20, 2**20)}, root / "expanded.pt")
    return [*made, "evil.pt", "evil-old.pt", "bomb.pt", "nan.pt", "expanded.pt"]


class Call:
    """Pickled, a call of a function that torch's own reader allows."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def laughs(width=60, depth=4):
    """Containers shared by reference, that unfold to width^(depth + 1) tensors."""
    content = {str(index): torch.ones(1) for index in range(width)}
    for _ in range(depth):
        content = {str(index): content for index in range(width)}
    return content


def archive(path: Path, pickle: bytes, **members: bytes) -> None:
    """Write what torch.save would, with a pickle made by hand."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", pickle)
        file.writestr("archive/byteorder", b"little")
        for name, body in members.items():
            file.writestr(f"archive/data/{name}", body)


HEAD = b"\x80\x02"


def long_named() -> bytes:
    """Return the instructions of a dict with a dict under a long name."""
    return b"}X" + struct.pack("<I", 3_000_000) + b"w" * 3_000_000 + b"}s"


DEEP_TUPLE = HEAD + b"}" + b")" + b"2\x86" * 200 + b"K\x01s."
"""A dict whose key is a tuple of itself twice, 200 times over: its hash would take 2^200 steps."""

PICKLES = {
    "memo": HEAD + b"}r\xff\xff\xff\x7f.",  # a place of the memo at 2^31
    "bytearray8": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "frame": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"}.",
    "long text": HEAD + b"X\xff\xff\xff\x7fabc.",
    "hash": DEEP_TUPLE,
    "deep": HEAD + b"(" * 1_000_000 + b"l" * 1_000_000 + b".",
    "deep lists": HEAD + b"]" * 400_000 + b"a" * 399_999 + b".",
    "many": HEAD + b"(" + b"}" * 4_000_000 + b"l.",
    "endless": HEAD + b"}q\x00" + b"h\x00" * 2_000_000,
    "itself": HEAD + b"]q\x00h\x00a.",
    "digits": HEAD + b"I" + b"9" * 1_000_000 + b"\n.",
    "set": b"\x80\x04\x8f(K\x01\x90.",
    "inst": HEAD + b"(ios\nsystem\n.",
    "extension": HEAD + b"\x82\x01.",
    "empty": b"",
    "stop": b".",
    "no stack": HEAD + b"R.",
    "places": b"\x80\x04}" + b"\x94" * 4_000_000 + b".",
    "nested tuples": HEAD + b"N" + b"\x85" * 4_000_000 + b"0}.",
    "colliding keys": HEAD
    + b"}("
    + b"".join(b"\x8a\x0b" + ((2**61 - 1) * k).to_bytes(11, "little") + b"N" for k in range(1, 150_000))
    + b"u.",
    "calls": HEAD + b"]ccollections\nOrderedDict\nq\x00)Ra" + b"h\x00)Ra" * 600_000 + b".",
    "long shared names": HEAD + b"}X\x01\0\0\0a](" + long_named() + b"q\x01" + b"h\x01" * 150_000 + b"es.",
}


def write_pickles(root):
    names = []
    for name, body in PICKLES.items():
        names.append(f"{name.replace(' ', '-')}-pickle.pt")
        archive(root / names[-1], body)
    calls = {
        "bytearray": Call(bytearray, 10**10),
        "storage": Call(torch.FloatStorage, 10**10),
        "float-tensor": Call(torch.FloatTensor, 10**10),
        "size": Call(torch.Size, [2**40]),
        "laughs": laughs(),
    }
    for name, value in calls.items():
        names.append(f"{name}-call.pt")
        torch.save({"w": value}, root / names[-1])
    shared = torch.ones(1000)
    torch.save({f"w{index}": shared for index in range(5000)}, root / "shared.pt")
    torch.save({"w" * 10**6: shared, "." * 10**6: shared}, root / "names.pt")
    return [*names, "shared.pt", "names.pt"]


@pytest.mark.parametrize(
    "claim",
    [
        {"count": 2**40},
        {"size": (2**20, 2**20)},
        {"size": (-1, 4)},
        {"size": (2**62, 2**62, 0), "stride": (1, 1, 1)},
        {"size": (1,) * 50, "stride": (1,) * 50},
        {"size": [1] * 3_000_000, "stride": [1] * 3_000_000},
        {"size": "ab", "stride": "cd"},
        {"size": ((1,),), "stride": (1,)},
        {"offset": 2**62},
        {"offset": -1},
        {"stride": (2**62, 1)},
        {"stride": (-4, 1)},
        {"stride": (2**63 - 1, 2**63 - 1)},
    ],
    ids=lambda claim: " ".join(claim),
)
def test_a_tensor_that_claims_more_than_its_storage_has_is_refused(tmp_path, claim):
    """Written by torch's own functions, with other numbers in place of the right ones."""
    fields = {"count": 16, "size": (4, 4), "offset": 0, "stride": (4, 1)} | claim

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", fields["count"]) if isinstance(value, Storage) else None

    body = io.BytesIO()
    rebuild = torch._utils._rebuild_tensor_v2
    value = Call(rebuild, Storage(), fields["offset"], fields["size"], fields["stride"], False, {})
    Pickler(body, 2).dump({"w": value})
    archive(tmp_path / "claims.pt", body.getvalue(), **{"0": bytes(64)})
    with pytest.raises(ModelError, match=r"claims|storage|damaged"):
        open_checkpoint(tmp_path / "claims.pt")


def test_a_tensor_in_place_of_a_size_is_refused_before_it_is_unpacked(tmp_path):
    """Its numbers would become as many objects."""
    storage = b"(X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ\0\0\0\x02tQq\x00"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00h\x00h\x00\x89NtR"
    archive(tmp_path / "size.pt", HEAD + b"}X\x01\0\0\0w" + call + b"s.", **{"0": bytes(2**25)})
    began = time.process_time()
    with pytest.raises(ModelError, match="a tensor is damaged"):
        open_checkpoint(tmp_path / "size.pt")
    assert time.process_time() - began < 5


def directory(count: int, extra: int) -> bytes:
    """Return an archive whose directory has so many members, each with so many bytes of extra fields."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr("archive/data.pkl", HEAD + b"}.")
    whole = body.getvalue()
    (start,) = struct.unpack("<I", whole[-6:-2])
    numbers = (0x02014B50, 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, extra, 0, 0, 0, 0, 0)
    member = struct.pack("<IBBBBHHHHIIIHHHHHII", *numbers) + b"a" + struct.pack("<HH", 0x7777, 0) * (extra // 4)
    members = whole[start:-22] + member * count
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(members), start, 0)
    return whole[:start] + members + end


@pytest.mark.parametrize(("count", "extra"), [(200_000, 0), (100, 65_500)])
def test_a_directory_of_too_many_members_is_refused_before_it_is_read(tmp_path, count, extra):
    (tmp_path / "many.pt").write_bytes(directory(count, extra))
    with pytest.raises(ModelError, match="its directory has"):
        open_checkpoint(tmp_path / "many.pt")


@pytest.mark.parametrize("at", [4, 6, 8, 10, 12, 16])
def test_lies_in_the_directory_of_an_archive_are_refused(tmp_path, at):
    """Counts, sizes and places of its end, or of its first member."""
    torch.save({"w": torch.ones(3)}, tmp_path / "good.pt")
    whole = (tmp_path / "good.pt").read_bytes()
    places = [
        whole.rfind(b"PK\x05\x06") + at,
        whole.find(b"PK\x01\x02") + 2 * at,
        whole.find(b"PK\x01\x02") + 34 + at // 2,
    ]
    for number, place in enumerate(places):
        for value in (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\1\0\0\0"):
            file = tmp_path / f"{number}.pt"
            file.write_bytes(whole[:place] + value + whole[place + 4 :])
            try:
                assert torch.equal(open_checkpoint(file)["w"], torch.ones(3))
            except ModelError as error:
                assert error.hint and "\n" not in error.message


def test_what_torch_saves_is_read(tmp_path):
    """Weights in all types, views, parameters, and the other content of a training's checkpoint."""
    network = torch.nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(3)).sum().backward()
    optimizer.step()
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    content = {
        "net": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameters": list(network.parameters()),
        "view": torch.arange(12).reshape(3, 4).T[1:, ::2],
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "step": 7,
        "device": torch.device("cpu"),
        "types": {str(dtype): torch.ones(3, dtype=dtype) for dtype in types},
    }
    torch.save(content, tmp_path / "all.pt")
    found = open_checkpoint(tmp_path / "all.pt")
    for name, value in {"view": content["view"], "scalar": content["scalar"], "empty": content["empty"]}.items():
        assert torch.equal(found[name], value)
    assert torch.equal(found["net.weight"], network.weight) and torch.equal(found["parameters.1"], network.bias)
    assert all(torch.equal(found[f"types.{dtype}"], torch.ones(3, dtype=dtype)) for dtype in types)
    assert "optimizer.state.0.exp_avg" in found


def mutated(body: bytes, draw: random.Random) -> bytes:
    """A body with some bytes changed, removed or inserted, or truncated; most often near its structure."""
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


def test_mutated(words):
    check_mutated(words["mutated"])


@pytest.mark.slow
def test_many_mutated(root):
    check_mutated(run(root, write_mutated(root, 200)))


def check_mutated(words):
    """Some are read: a changed weight is a weight. Most are refused, and none does anything else."""
    assert set(words.values()) <= {"read", "refused"}
    assert sum(word == "refused" for word in words.values()) > len(words) / 3


def write_mutated(root, count):
    draw, names = random.Random(count), []
    for index in range(count):
        suffix = (".pt", ".safetensors")[index % 2]
        names.append(f"mutated-{index}{suffix}")
        (root / names[-1]).write_bytes(mutated((root / f"good{suffix}").read_bytes(), draw))
    return names
