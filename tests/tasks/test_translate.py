"""Translating folders: nothing lost, nothing done twice, and the same pictures whatever the way."""

import io
from pathlib import Path

import pytest
from PIL import Image

from ddbm_cli.errors import ImageError, UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Failed, Finished, Kept, Planned, Written
from ddbm_cli.tasks.translate import TranslateRequest, run, translate_stream
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


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_every_picture_is_made_and_every_call_told(folder, model):
    events = translate(folder, model, batch_size=3, nfe=5)
    assert isinstance(events[0], Planned) and events[0].total == 7
    assert [event.images for event in kinds(events, BatchStarted)] == [3, 3, 1]
    assert [event.nfe for event in kinds(events, Evaluated)] == [1, 2, 3, 4, 5] * 3
    assert [event.source.name for event in kinds(events, Written)] == [f"{index}.png" for index in range(7)]
    assert kinds(events, Finished)[0].written == 7
    assert all(open_picture(path).size == (16, 16) for path in (folder / "out").iterdir())


@pytest.mark.parametrize("sampler", [None, "heun", "dbim:eta=1"])
def test_batches_and_order_change_no_byte(folder, model, sampler):
    """b = 1 and b = 8 give the same file."""
    whole = [translate(folder, model, f"b{size}", batch_size=size, sampler=sampler) and size for size in (1, 3, 8)]
    results = [{path.name: path.read_bytes() for path in (folder / f"b{size}").iterdir()} for size in whole]
    assert results[0] == results[1] == results[2] and len(results[0]) == 7
    list(run(TranslateRequest(source=str(folder / "in" / "4.png"), output=folder / "one.png", model=model,
                              device="cpu", sampler=sampler)))  # fmt: skip
    assert (folder / "one.png").read_bytes() == results[0]["4.png"]


def test_finished_pictures_are_kept(folder, model):
    translate(folder, model)
    (folder / "out" / "3.png").unlink()
    events = translate(folder, model)
    assert [event.source.name for event in kinds(events, Written)] == ["3.png"]
    assert len(kinds(events, Kept)) == 6 and not any(event.differs for event in kinds(events, Kept))


def test_pictures_made_in_another_way_are_kept_and_said(folder, model):
    translate(folder, model)
    before = pixels(folder / "out")
    events = translate(folder, model, seed=1)
    assert len(kinds(events, Kept)) == 7 and all(event.differs for event in kinds(events, Kept))
    assert pixels(folder / "out") == before
    assert len(kinds(translate(folder, model, seed=1, overwrite=True), Written)) == 7
    assert pixels(folder / "out") != before


def test_an_interrupted_folder_goes_on_to_the_same_pictures(folder, model):
    translate(folder, model, "whole")
    request = TranslateRequest(
        source=str(folder / "in"), output=folder / "parts", model=model, device="cpu", batch_size=2
    )
    events = run(request)
    for event in events:
        if isinstance(event, Written):
            break
    events.close()
    left = len(list((folder / "parts").iterdir()))
    assert 0 < left < 7
    assert not [path for path in (folder / "parts").iterdir() if path.name.startswith(".")]
    list(run(request))
    assert pixels(folder / "parts") == pixels(folder / "whole")


def test_a_broken_file_costs_only_itself(folder, model):
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
    assert len(kinds(events, Written)) == 7 and not (folder / "out").exists()


def test_an_output_that_cannot_be_written_is_said_at_once(folder, model):
    (folder / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        translate(folder, model, "file/out")


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


def test_a_stream_is_a_picture_like_any(folder, model):
    body, out = io.BytesIO((folder / "in" / "2.png").read_bytes()), io.BytesIO()
    events = list(translate_stream(TranslateRequest(source="-", model=model, device="cpu"), body, out))
    assert Image.open(io.BytesIO(out.getvalue())).size == (16, 16)
    assert kinds(events, Finished)[0].written == 1
    with pytest.raises(ImageError, match="standard input"):
        list(translate_stream(TranslateRequest(source="-", model=model), io.BytesIO(b"words"), out))


def test_outputs_say_how_they_were_made_without_naming_folders(folder, model):
    translate(folder, model)
    with Image.open(folder / "out" / "1.png") as opened:
        said = opened.text["ddbm"]
    assert '"seed": 0' in said and '"nfe": 4' in said and str(folder) not in said and Path(model).name not in said
