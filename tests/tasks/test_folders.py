"""Folders: the manifest, existing outputs, failures, draws."""

import json
import threading

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import write_new
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.tasks.events import Failed, Finished, Kept, Noticed, Written
from ddbm_cli.tasks.translate import request, run
from tests.tasks.test_translate import contents, kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for index in range(4):
        picture(index, 24).save(tmp_path / "in" / f"{index}.png")
    picture(7, 24).save(tmp_path / "in" / "sub" / "0.png")
    return tmp_path


def translate(root, model, output="out", **options):
    body = {"source": str(root / "in"), "output": root / output, "model": model, "device": "cpu", "manifest": True}
    return list(run(request(**(body | options))))


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines() if line]


def check_manifest(root, folder="out", count=4):
    """Every output has one line, and its digests are those of the files."""
    lines = [line for line in manifest(root / folder) if line["status"] == "written"]
    assert sorted(line["output"] for line in lines) == sorted(
        path.relative_to(root / folder).as_posix() for path in (root / folder).rglob("*.png")
    )
    assert len(lines) == count
    for line in lines:
        assert line["output_sha256"] == sha256((root / folder / line["output"]).read_bytes())
        assert line["input_sha256"] == sha256((root / "in" / line["input"]).read_bytes())
        assert line["nfe"] == 4 and line["seed"] == 0 and len(line["settings"]) == 64
    return lines


def test_the_manifest_lists_all_outputs_with_their_digests(root, model):
    (root / "in" / "bad.png").write_bytes(b"no image")
    translate(root, model, recursive=True)
    lines = check_manifest(root, count=5)
    assert all(line["milliseconds"] > 0 for line in lines) and len({line["settings"] for line in lines}) == 1
    failed = [line for line in manifest(root / "out") if line["status"] == "failed"]
    assert [line["input"] for line in failed] == ["bad.png"] and "bad.png" in failed[0]["notes"][0]
    translate(root, model, recursive=True, seed=1, overwrite=True)
    assert len(manifest(root / "out")) == 12
    assert {line["settings"] for line in manifest(root / "out")[6:]} != {lines[0]["settings"]}


def test_a_resumed_run_adds_the_missing_lines_only(root, model):
    translate(root, model)
    lines = (root / "out" / "manifest.jsonl").read_text().splitlines(keepends=True)
    (root / "out" / "3.png").unlink()
    (root / "out" / "manifest.jsonl").write_text("".join(lines[:2]) + lines[2][:50])  # killed in the middle of a line
    translate(root, model)
    found = [json.loads(line) for line in (root / "out" / "manifest.jsonl").read_text().splitlines() if line[-1] == "}"]
    assert sorted(line["output"] for line in found) == ["0.png", "1.png", "2.png", "3.png"]
    assert {line["output_sha256"] for line in found} == {sha256(body) for body in contents(root / "out").values()}
    translate(root, model)
    assert len((root / "out" / "manifest.jsonl").read_text().splitlines()) == 5


def test_two_runs_write_one_manifest(root, model):
    def work(rank):
        translate(root, model, shard=(rank, 2))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check_manifest(root)


def test_a_foreign_file_of_that_name_is_left_alone(root, model):
    (root / "out").mkdir()
    (root / "out" / "manifest.jsonl").write_text('{"mine": 1}\n')
    events = translate(root, model)
    assert (root / "out" / "manifest.jsonl").read_text() == '{"mine": 1}\n'
    assert "not a list of this program" in kinds(events, Noticed)[0].message
    assert kinds(events, Finished)[0].written == 4


def test_no_manifest_where_none_is_wanted(root, model):
    translate(root, model, manifest=False)
    translate(root, model, "dry", dry_run=True)
    translate(root, model, "one.png", source=str(root / "in" / "0.png"))
    assert not list(root.rglob("manifest.jsonl"))


def test_retry_processes_what_failed(root, model):
    (root / "in" / "bad.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="no list of earlier failures"):
        translate(root, model, retry=True)
    translate(root, model)
    picture(5, 24).save(root / "in" / "bad.png")
    picture(6, 24).save(root / "in" / "new.png")
    events = translate(root, model, retry=True)
    assert [event.output.name for event in kinds(events, Written)] == ["bad.png"]
    assert kinds(translate(root, model, retry=True), Finished)[0].written == 0


def test_existing_outputs_are_kept_renamed_or_reported(root, model):
    translate(root, model)
    before = contents(root / "out")
    events = translate(root, model, fail_existing=True)
    assert len(kinds(events, Failed)) == 4 and "exists already" in kinds(events, Failed)[0].message
    events = translate(root, model, seed=1, rename=True)
    assert [event.output.name for event in kinds(events, Written)] == ["0-2.png", "1-2.png", "2-2.png", "3-2.png"]
    events = translate(root, model, seed=1, rename=True)
    assert len(kinds(events, Kept)) == 4 and not kinds(events, Written), "the same command resumes"
    events = translate(root, model, seed=2, rename=True, limit=1)
    assert [event.output.name for event in kinds(events, Written)] == ["0-3.png"]
    after = contents(root / "out")
    assert {name: after[name] for name in before} == before and len(after) == 9


def test_a_run_stops_at_a_number_of_failures(root, model):
    for index in range(30):
        (root / "in" / f"a{index:02d}.png").write_bytes(b"no image")
    events = translate(root, model, max_failures=3)
    assert len(kinds(events, Failed)) == 3 and "stopped after 3" in kinds(events, Noticed)[-1].message
    assert kinds(events, Finished)[0].failed == 3


def test_folders_are_flattened(root, model):
    translate(root, model, recursive=True, flatten=True)
    assert sorted(contents(root / "out")) == ["0.png", "1.png", "2.png", "3.png", "sub-0.png"]


def test_names_follow_a_template(root, model):
    translate(root, model, name="{stem}-{model}-{nfe}-{seed}{ext}", nfe=2, seed=3, limit=1)
    assert sorted(contents(root / "out")) == ["0-tiny-2-3.png"]
    with pytest.raises(UsageError, match="needs a folder"):
        translate(root, model, "one.png", source=str(root / "in" / "0.png"), name="{stem}x{ext}")


def test_draws_have_noise_of_their_own_and_draw_0_is_the_usual_image(root, model):
    translate(root, model, "plain", sampler="dbim:eta=1")
    translate(root, model, number=3, sampler="dbim:eta=1", limit=2)
    found = contents(root / "out")
    assert sorted(found) == [f"{image}_{draw:03d}.png" for image in range(2) for draw in range(3)]
    assert found["0_000.png"] == contents(root / "plain")["0.png"]
    assert len({open_picture(root / "out" / name).tobytes() for name in found}) == 6
    translate(root, model, "one", number=1, start=2, name="{stem}_{draw}{ext}", sampler="dbim:eta=1", limit=1)
    assert contents(root / "one")["0_2.png"] == found["0_002.png"]
    assert {(line["input"], line["draw"]) for line in manifest(root / "out")} == {
        (f"{i}.png", d) for i in range(2) for d in range(3)
    }
    with pytest.raises(UsageError, match="draws no noise"):
        translate(root, model, "equal", number=2, sampler="euler")


def test_one_of_many_writers_of_a_new_file_wins(tmp_path):
    results = []

    def work(number):
        results.append(write_new(tmp_path / "file", str(number).encode() * 1000))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results.count(True) == 1 and [path.name for path in tmp_path.iterdir()] == ["file"]
    assert len(set((tmp_path / "file").read_bytes())) == 1
