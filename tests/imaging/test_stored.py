"""Images inside other files: WebDataset shards, parquet and arrow tables; whole, damaged and hostile."""

import io
import json
import tarfile
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging import shards
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.prepare import prepared
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.tasks.train import request, run
from tests.tiny import SMALLEST

pyarrow = pytest.importorskip("pyarrow")

SIZE = Preprocess(size=16)


def png(index, size=(16, 16)):
    stream = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def shard(file, members):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file


def table(file, columns, metadata=None):
    import pyarrow.parquet as parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    made = pyarrow.table(columns)
    if metadata:
        made = made.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    if file.suffix in (".arrow", ".ARROW"):
        kind = pyarrow.ipc.new_stream if file.suffix == ".arrow" else pyarrow.ipc.new_file
        with kind(str(file), made.schema) as writer:
            writer.write_table(made)
    else:
        parquet.write_table(made, file, row_group_size=3)
    return file


def images(first, count):
    return [{"bytes": png(first + index), "path": None} for index in range(count)]


def found(root, **options):
    return find_pairs([root], **{"val_share": 0, **options})


def samples(first, count, words=("source", "target")):
    return {
        f"{first + i:04d}.{word}.png": png(2 * (first + i) + j) for i in range(count) for j, word in enumerate(words)
    }


@pytest.mark.parametrize("words", [("source", "target"), ("a", "b"), ("input", "output")])
def test_samples_of_a_shard_are_pairs(tmp_path, words):
    pairs = found(shard(tmp_path / "x.tar", samples(0, 3, words))).train
    assert [pair.name for pair in pairs] == ["0000", "0001", "0002"]
    both = prepared(pairs[1], SIZE)
    assert np.array_equal(both[0].permute(1, 2, 0), np.asarray(Image.open(io.BytesIO(png(2)))))
    assert np.array_equal(both[1].permute(1, 2, 0), np.asarray(Image.open(io.BytesIO(png(3)))))


def test_shards_of_a_folder_with_splits_classes_and_captions(tmp_path):
    more = {"0000.cls": b"cat", "0000.txt": "a cät".encode()}
    shard(tmp_path / "train-000.tar", samples(0, 2) | more)
    shard(tmp_path / "train-001.tar", samples(2, 2))
    shard(tmp_path / "val-000.tar", samples(4, 1))
    shard(tmp_path / "test-000.tar", samples(5, 1))
    both = found(tmp_path, val_share=0.5)
    assert [len(both.train), len(both.val)] == [4, 1] and both.val[0].name == "0004"
    assert both.train[0].class_name == "cat" and both.train[0].caption == "a cät"


def test_targets_alone_and_side_by_side_images_and_direction(tmp_path):
    file = shard(tmp_path / "x.tar", {f"{index}.png": png(index, (32, 16)) for index in range(3)})
    (first, *_), (back, *_) = found(file).train, found(file, swap=True).train
    assert (prepared(first, SIZE) == prepared(back, SIZE).flip(0)).all()
    assert prepared(found(file, targets_only=True).train[0], SIZE).shape[0] == 1
    file = shard(tmp_path / "y.tar", samples(0, 1))
    assert (prepared(found(file).train[0], SIZE) == prepared(found(file, swap=True).train[0], SIZE).flip(0)).all()


def test_names_that_lead_out_of_a_shard_are_only_names(tmp_path):
    canary = tmp_path / "canary.target.png"
    canary.write_bytes(png(99))
    members = {"../canary.source.png": png(0), "../canary.target.png": png(1), "/etc/x.source.png": png(2)}
    file = shard(tmp_path / "in/x.tar", members)
    with tarfile.open(file, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"link{kind.decode()}.target.png")
            info.type, info.linkname = kind, "../canary.target.png"
            tar.addfile(info)
    pairs = found(file).train
    assert [pair.name for pair in pairs] == ["../canary"] and pairs[0].target.read() == png(1)
    assert canary.read_bytes() == png(99) and sorted(path.name for path in tmp_path.iterdir()) == [
        "canary.target.png",
        "in",
    ]


def test_a_shard_that_is_cut_off_keeps_what_is_whole(tmp_path):
    file = shard(tmp_path / "x.tar", samples(0, 4))
    file.write_bytes(file.read_bytes()[:-11_500])
    some = found(file)
    assert 1 <= len(some.train) < 4 and "damaged after" in some.broken[0].message
    pair = found(file).train[0]
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(ImageError, match="the file ends within this image"):
        prepared(pair, SIZE)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("x.tar", b"no tar file at all" * 100, "not a tar file"),
        ("x.tar", b"", "not a tar file"),
        ("x.tar", b"\0" * 10_240, "no pairs in this shard"),
        ("x.tar.gz", b"\x1f\x8b", "a compressed tar file"),
        ("x.parquet", b"PAR1 nothing", "not readable"),
        ("x.arrow", b"nothing", "not readable"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, name, body, words):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(UsageError, match=words) as error:
        found(tmp_path / name)
    assert error.value.hint and "\n" not in error.value.message


def test_a_header_that_declares_much_takes_no_memory(tmp_path):
    file = tmp_path / "x.tar"
    shard(file, samples(0, 1))
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**30
    with file.open("r+b") as body:
        whole = body.read()
        body.seek(0)
        end = -(-len(whole.rstrip(b"\0")) // 512) * 512
        body.write(whole[:end] + info.tobuf())
        body.truncate(2**30 + 20_000)  # sparse: takes no room on the disk
    tracemalloc.start()
    assert len(found(file).train) == 1
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_memory_does_not_grow_with_the_size_of_the_images(tmp_path):
    large = b"x" * 2**20
    file = shard(tmp_path / "x.tar", {f"{index:03d}.{side}.png": large for index in range(20) for side in "ab"})
    tracemalloc.start()
    assert len(found(file).train) == 20
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".ARROW"], ids=["parquet", "stream", "file"])
def test_rows_of_a_table_are_pairs(tmp_path, suffix):
    columns = {
        "input_image": images(0, 8),
        "edited_image": images(10, 8),
        "label": [0, 1] * 4,
        "text": [f"caption {index}" for index in range(8)],
    }
    metadata = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    pairs = found(table(tmp_path / f"x{suffix}", columns, metadata)).train
    assert len(pairs) == 8 and len({pair.name for pair in pairs}) == 8
    assert [pair.class_name for pair in pairs[:2]] == ["cat", "dog"] and pairs[5].caption == "caption 5"
    both = prepared(pairs[5], SIZE)
    for side, index in ((0, 5), (1, 15)):
        assert np.array_equal(both[side].permute(1, 2, 0), np.asarray(Image.open(io.BytesIO(png(index)))))


def test_tables_of_a_folder_as_the_hub_lays_them_out(tmp_path):
    table(tmp_path / "data/train-00000-of-00001.parquet", {"source": images(0, 3), "target": images(3, 3)})
    table(tmp_path / "data/validation-00000-of-00001.parquet", {"source": images(6, 1), "target": images(7, 1)})
    both = found(tmp_path)
    assert [len(both.train), len(both.val)] == [3, 1]


@pytest.mark.parametrize("path", ["../outside.png", "{root}/outside.png", "https://host/a.png", "none.png", None])
def test_a_table_reads_nothing_outside_of_its_folder(tmp_path, path):
    (tmp_path / "outside.png").write_bytes(png(1))
    column = [{"bytes": None, "path": path and path.format(root=tmp_path)}]
    pairs = found(table(tmp_path / "in/x.parquet", {"source": images(0, 1), "target": column})).train
    with pytest.raises(ImageError) as error:
        prepared(pairs[0], SIZE)
    assert error.value.hint


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"left": images(0, 1), "right": images(1, 1)}, "no columns of sources and targets; its columns: left, right"),
        ({"source": ["a"], "target": images(1, 1)}, "column 'source' holds no images"),
        ({"source": images(0, 1), "target": images(1, 1), "split": ["blind"]}, "'blind' is not a split"),
    ],
)
def test_tables_of_other_columns_are_refused(tmp_path, columns, words):
    with pytest.raises(UsageError, match=words):
        found(table(tmp_path / "x.parquet", columns))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    file = table(tmp_path / "x.parquet", {"source": images(0, 1), "target": images(1, 1)})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="needs pyarrow") as error:
        found(file)
    assert "ddbm-cli[datasets]" in error.value.hint


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_training_reads_them_and_skips_what_is_broken(tmp_path, form):
    bodies = [(png(2 * index), png(2 * index + 1)) for index in range(12)]
    bodies[3] = (b"no image", bodies[3][1])
    if form == "tar":
        members = {f"{i}.{w}.png": b for i, both in enumerate(bodies) for w, b in zip("ab", both, strict=True)}
        root = shard(tmp_path / "x.tar", members)
    else:
        sides = zip(*([{"bytes": body, "path": None} for body in both] for both in bodies), strict=True)
        root = table(tmp_path / "x.parquet", dict(zip(("source", "target"), map(list, sides), strict=True)))
    body = {"data": [root], "output": tmp_path / "run", "network": SMALLEST, "size": 16, "device": "cpu"}
    events = list(run(request({**body, "val_share": 0, "recipe": {"steps": 2, "batch_size": 4}})))
    assert events[-1].step == 2 and "1 unusable" in events[0].facts["Data"]
    assert shards.MOST_READ < 2**24
