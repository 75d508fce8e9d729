"""Translating folders: nothing lost, nothing done twice, and the same pictures whatever the way."""

import io
import json
import os
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops

from ddbm_cli import __version__
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.imaging import writing
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.models import TranslationModel
from ddbm_cli.tasks import making, reading, records
from ddbm_cli.tasks.batch_size import auto_batch_size
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Failed, Finished, Intended, Kept, Planned, Written
from ddbm_cli.tasks.translate import TranslateRequest, request, run
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for index in range(7):
        picture(index, 40).save(tmp_path / "in" / f"{index}.png")
    picture(9, 24).save(tmp_path / "in" / "sub" / "9.png")
    return tmp_path


def translate(folder, model, output="out", **options):
    body = {"source": str(folder / "in"), "output": folder / output, "model": model, "device": "cpu"}
    return list(run(TranslateRequest(**(body | options))))


def pixels(folder):
    return {path.name: open_picture(path).tobytes() for path in sorted(folder.rglob("*.png"))}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def close(ones, others):
    """Whether pictures are the same but for single levels, which another order of adding up may move."""
    assert ones.keys() == others.keys()
    size = (16, 16)
    pairs = [(Image.frombytes("RGB", size, ones[name]), Image.frombytes("RGB", size, others[name])) for name in ones]
    return all(high <= 1 for one, other in pairs for _, high in ImageChops.difference(one, other).getextrema())


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_every_image_is_made_and_every_call_is_reported(folder, model):
    events = translate(folder, model, batch_size=3, nfe=5)
    assert isinstance(events[0], Planned) and events[0].total == 7
    assert [event.images for event in kinds(events, BatchStarted)] == [3, 3, 1]
    assert [event.nfe for event in kinds(events, Evaluated)] == [1, 2, 3, 4, 5] * 3
    assert [event.source.name for event in kinds(events, Written)] == [f"{index}.png" for index in range(7)]
    assert kinds(events, Finished)[0].written == 7
    assert all(open_picture(path).size == (16, 16) for path in (folder / "out").glob("*.png"))


@pytest.mark.parametrize("sampler", [None, "heun", "dbim:eta=1"])
def test_an_image_has_the_same_bytes_in_any_batch_and_alone(folder, model, sampler):
    for size in (1, 3, 8, None):
        translate(folder, model, f"b{size}", batch_size=size, sampler=sampler)
    whole = {size: contents(folder / f"b{size}") for size in (1, 3, 8, None)}
    assert len(whole[1]) == 7
    assert whole[3] == whole[1] and whole[8] == whole[1] and whole[None] == whole[1]
    translate(folder, model, "one.png", source=str(folder / "in" / "4.png"), sampler=sampler)
    assert (folder / "one.png").read_bytes() == whole[1]["4.png"]


def test_finished_images_are_kept(folder, model):
    translate(folder, model)
    (folder / "out" / "3.png").unlink()
    events = translate(folder, model)
    assert [event.source.name for event in kinds(events, Written)] == ["3.png"]
    assert len(kinds(events, Kept)) == 6 and not any(event.differs for event in kinds(events, Kept))


def test_images_made_in_another_way_are_kept_and_said(folder, model):
    translate(folder, model)
    before = pixels(folder / "out")
    events = translate(folder, model, seed=1)
    assert len(kinds(events, Kept)) == 7 and all(event.differs for event in kinds(events, Kept))
    assert pixels(folder / "out") == before
    assert len(kinds(translate(folder, model, seed=1, overwrite=True), Written)) == 7
    assert pixels(folder / "out") != before


def test_an_interrupted_folder_resumes_to_the_same_images(folder, model):
    translate(folder, model, "whole")
    request = TranslateRequest(
        source=str(folder / "in"), output=folder / "parts", model=model, device="cpu", batch_size=2
    )
    events = run(request)
    for event in events:
        if isinstance(event, Written):
            break
    events.close()
    left = len(list((folder / "parts").glob("*.png")))
    assert 0 < left < 7
    assert not [path for path in (folder / "parts").iterdir() if path.name.startswith(".")]
    list(run(request))
    assert contents(folder / "parts") == contents(folder / "whole")


def test_a_broken_file_is_skipped_and_reported(folder, model):
    (folder / "in" / "3.png").write_text("words")
    events = translate(folder, model, batch_size=2)
    assert [event.source.name for event in kinds(events, Failed)] == ["3.png"]
    assert len(kinds(events, Written)) == 6 and kinds(events, Finished)[0].failed == 1


def test_odd_shapes_are_no_trouble(folder, model):
    Image.new("RGB", (1, 1), "red").save(folder / "in" / "dot.png")
    Image.new("RGB", (20000, 10), "red").save(folder / "in" / "line.png")
    events = translate(folder, model)
    assert len(kinds(events, Written)) == 9
    assert open_picture(folder / "out" / "line.png").size == (16, 1)


def test_a_dry_run_writes_nothing(folder, model):
    events = translate(folder, model, dry_run=True)
    assert [event.output.name for event in kinds(events, Intended)] == [f"{index}.png" for index in range(7)]
    assert not kinds(events, Written) and not (folder / "out").exists()
    translate(folder, model)
    events = translate(folder, model, dry_run=True, seed=1)
    assert not kinds(events, Intended) and all(event.differs == "another seed" for event in kinds(events, Kept))


def test_an_output_that_cannot_be_written_is_said_before_the_model_is_loaded(folder, model):
    (folder / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        translate(folder, "no-such.safetensors", "file/out")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the super-user may write anywhere")
def test_an_output_folder_without_permission_is_said_at_once(folder, model):
    (folder / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="no permission"):
        translate(folder, model, "locked/out")


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"nfe": 7},
        {"steps": 2},
        {"sampler": "heun"},
        {"sampler": "dbim:eta=1"},
        {"grid": "log-snr"},
        {"dtype": "bf16"},
        {"fit": "crop"},
        {"keep_size": True},
        {"format": "webp"},
        {"recursive": True},
    ],
    ids=str,
)
def test_every_option_changes_what_comes_out(folder, model, options):
    wide = Image.new("RGB", (60, 30), "white")
    wide.paste("green", (0, 0, 20, 20))
    wide.save(folder / "in" / "wide.png")
    translate(folder, model, "plain")
    translate(folder, model, "other", **options)
    assert {p.name: p.read_bytes() for p in (folder / "plain").rglob("*.*")} != {
        p.name: p.read_bytes() for p in (folder / "other").rglob("*.*")
    }
    assert pixels(folder / "plain") != pixels(folder / "other") or "format" in options


def test_quality_changes_the_file(folder, model):
    for quality in (20, 95):
        translate(folder, model, f"q{quality}", format="jpg", quality=quality)
    assert (folder / "q20" / "1.jpg").stat().st_size < (folder / "q95" / "1.jpg").stat().st_size


def test_standard_input_and_output(folder, model):
    body = (folder / "in" / "2.png").read_bytes()

    def piped(source, output, stdin=body):
        out = io.BytesIO()
        asked = TranslateRequest(source=source, output=output, model=model, device="cpu")
        return list(run(asked, stdin=io.BytesIO(stdin), stdout=out)), out.getvalue()

    events, through = piped("-", None)
    assert kinds(events, Finished)[0].written == 1 and Image.open(io.BytesIO(through)).size == (16, 16)
    assert piped("-", folder / "x.png")[1] == b"" and (folder / "x.png").read_bytes() == through
    translate(folder, model)
    assert piped(str(folder / "in" / "2.png"), Path("-"))[1] == (folder / "out" / "2.png").read_bytes()
    failed = kinds(piped("-", None, b"words")[0], Failed)
    assert "standard input" in failed[0].message
    assert not Path("-").exists()


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff"])
def test_outputs_say_how_they_were_made_without_naming_folders(folder, model, format):
    translate(folder, model, format=format)
    text = read_text(folder / "out" / f"1.{format}")["ddbm"]
    said = json.loads(text)
    assert (said["seed"], said["nfe"], said["source"], said["model"]) == (0, 4, "1.png", "tiny")
    assert said["tool"] == f"ddbm {__version__}" and len(said["model_sha256"]) == 64
    assert str(folder) not in text and Path(model).name not in text
    assert not kinds(translate(folder, model, format=format), Written)


def test_every_setting_that_changes_pixels_is_noticed(folder, model):
    """What was made with other settings is not taken for finished."""
    translate(folder, model, format="jpg")
    others = {
        "another seed": {"seed": 1},
        "another steps": {"steps": 5},
        "another sampler": {"sampler": "dbim:eta=1"},
        "another grid": {"grid": "log-snr"},
        "another dtype": {"dtype": "bf16"},
        "another fit": {"fit": "crop"},
        "another keep size": {"keep_size": True},
        "another quality": {"quality": 50},
    }
    for words, options in others.items():
        kept = kinds(translate(folder, model, **({"format": "jpg"} | options)), Kept)
        assert [event.differs for event in kept] == [words] * 7
    other = write_tiny(folder / "other.safetensors", licence="another")
    assert kinds(translate(folder, str(other), format="jpg"), Kept)[0].differs == "another model file"


def test_a_new_version_of_the_tool_keeps_what_is_finished(folder, model, monkeypatch):
    translate(folder, model)
    monkeypatch.setattr(records, "__version__", "99")
    assert all(not event.differs for event in kinds(translate(folder, model), Kept))


def test_a_source_that_was_changed_is_noticed(folder, model):
    translate(folder, model)
    before = (folder / "in" / "3.png").stat()
    picture(30, 40).save(folder / "in" / "3.png")
    os.utime(folder / "in" / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    differing = [event for event in kinds(translate(folder, model), Kept) if event.differs]
    assert [(event.source.name, event.differs) for event in differing] == [("3.png", "another source image")]


def test_a_foreign_file_is_not_overwritten_unasked(folder, model):
    (folder / "out").mkdir()
    (folder / "out" / "2.png").write_text("mine")
    kept = kinds(translate(folder, model), Kept)
    assert [(event.output.name, event.differs) for event in kept] == [("2.png", "not made by this command")]
    assert (folder / "out" / "2.png").read_text() == "mine"
    assert len(kinds(translate(folder, model, overwrite=True), Written)) == 7


def test_a_file_is_translated_as_in_its_folder_and_named_after_the_model(folder, model):
    translate(folder, model)
    asked = TranslateRequest(source=str(folder / "in" / "5.png"), model=model, device="cpu")
    events = list(run(asked))
    assert kinds(events, Written)[0].output == folder / "in" / "5_tiny.png"
    assert (folder / "in" / "5_tiny.png").read_bytes() == (folder / "out" / "5.png").read_bytes()
    assert len(kinds(list(run(asked)), Kept)) == 1


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_batches_are_halved_when_memory_runs_out(folder, model, monkeypatch, kind):
    translate(folder, model, "whole")
    real = TranslationModel.translate

    def small(self, source, noise, plan, **masks):
        if len(source) > 2:
            raise kind("CUDA out of memory. Tried to allocate 1 GiB")
        return (yield from real(self, source, noise, plan, **masks))

    monkeypatch.setattr(TranslationModel, "translate", small)
    events = translate(folder, model, "parts", batch_size=7)
    assert [event.images for event in kinds(events, BatchStarted)] == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert close(pixels(folder / "parts"), pixels(folder / "whole"))

    def never(self, source, noise, plan, **masks):
        raise kind("out of memory")
        yield

    monkeypatch.setattr(TranslationModel, "translate", never)
    with pytest.raises(DdbmError, match="out of memory with one image"):
        translate(folder, model, "none")


def test_other_faults_of_the_machine_are_not_hidden(folder, model, monkeypatch):
    def broken(self, source, noise, plan, **masks):
        raise RuntimeError("device-side assert")
        yield

    monkeypatch.setattr(TranslationModel, "translate", broken)
    with pytest.raises(RuntimeError, match="assert"):
        translate(folder, model)


def test_numbers_out_of_range_are_a_failure_and_no_image(folder, model, monkeypatch):
    real = TranslationModel.translate

    def spoilt(self, source, noise, plan, **masks):
        result = yield from real(self, source, noise, plan)
        result[0, 0, 0, 0] = float("nan")
        return result

    monkeypatch.setattr(TranslationModel, "translate", spoilt)
    events = translate(folder, model, batch_size=7)
    assert [event.source.name for event in kinds(events, Failed)] == ["0.png"]
    assert "--dtype fp32" in kinds(events, Failed)[0].hint and not (folder / "out" / "0.png").exists()


def test_on_a_full_disk_images_that_do_not_fit_are_skipped_and_reported(folder, model, monkeypatch):
    real = writing.write_new

    def full(path, body):
        if path.name in ("1.png", "4.png"):
            raise OSError(28, "No space left on device")
        return real(path, body)

    monkeypatch.setattr(writing, "write_new", full)
    events = translate(folder, model)
    assert [event.source.name for event in kinds(events, Failed)] == ["1.png", "4.png"]
    assert sorted(path.name for path in (folder / "out").glob("*.png")) == ["0.png", "2.png", "3.png", "5.png", "6.png"]


def test_no_thread_and_no_image_is_left_when_the_world_stops_listening(folder, model):
    before = threading.active_count()
    events = run(TranslateRequest(source=str(folder / "in"), output=folder / "out", model=model, device="cpu"))
    next(event for event in events if isinstance(event, Evaluated))
    events.close()
    assert threading.active_count() == before and not list((folder / "out").glob("*.png"))


def test_images_in_memory_are_bounded(folder, model, monkeypatch):
    """However long the folder, only so many pictures are read before one is written."""
    for index in range(7, 60):
        picture(index, 40).save(folder / "in" / f"{index}.png")
    reading = []
    real = making.opened
    monkeypatch.setattr(making, "opened", lambda body, name: reading.append(name) or real(body, name=name))
    ahead = 0
    for event in run(
        TranslateRequest(source=str(folder / "in"), output=folder / "out", model=model, device="cpu", batch_size=4)
    ):
        if isinstance(event, Written):
            ahead += 1
            assert len(reading) - ahead <= 6 * 4
    assert ahead == 60


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nfe": 0}, "--nfe must be at least 1, not 0"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"nfe": 3, "steps": 3}, "mutually exclusive"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"quality": 101}, "--quality must be at most 100, not 101"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"fit": "sideways"}, "--fit sideways"),
        ({"format": "xyz"}, "unknown format"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_before_the_model_is_loaded(folder, given, message):
    with pytest.raises(UsageError, match=message) as caught:
        list(run(request(source=str(folder / "in"), output=folder / "out", model="no-such.safetensors", **given)))
    assert caught.value.hint


def test_batches_are_smaller_for_larger_images(tmp_path):
    from ddbm_cli.imaging.preprocess import Preprocess
    from ddbm_cli.models import load_model

    sizes = {}
    for side in (16, 128, 256, 512):
        file = write_tiny(tmp_path / f"{side}.safetensors", preprocess=Preprocess(size=side))
        sizes[side] = auto_batch_size(load_model(file, device="cpu"))
    assert sizes == {16: 8, 128: 8, 256: 2, 512: 1}
    half = load_model(write_tiny(tmp_path / "half.safetensors"), device="cpu", dtype="bf16")
    assert auto_batch_size(half) == 1, "in bfloat16 the bits of an image depend on its batch"


def test_standard_input_is_read_up_to_a_limit(folder, model, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 100)

    class Endless:
        asked = 0

        def read(self, size=-1):
            assert size >= 0
            self.asked += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(UsageError, match="standard input: more than") as error:
        list(run(request(source="-", output=Path("-"), model=str(model)), stdin=stream, stdout=io.BytesIO()))
    assert stream.asked == 101 and error.value.hint
