"""Translating drawings as people have them, with the built-in model, which expects line art."""

import json
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import load_model
from ddbm_cli.tasks.events import Failed, Noticed, Planned, Written
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.imaging import drawings
from tests.tiny import write_tiny

NAME = "sketch-to-3d-64"


@pytest.fixture(scope="module")
def model():
    return load_model(None, device="cpu")


def translate(model, source, output, **options):
    return list(run(TranslateRequest(source=str(source), output=output, **{"steps": 2} | options), model=model))


def record(file):
    return json.loads(read_text(file)["ddbm"])


def test_a_clean_sketch_gives_the_same_bytes_prepared_or_not(model, tmp_path):
    drawings.clean(0).save(tmp_path / "clean.png")
    for how in ("auto", "none", "sketch"):
        translate(model, tmp_path / "clean.png", tmp_path / how / "clean.png", prepare=how)
    auto, none, sketch = ((tmp_path / how / "clean.png").read_bytes() for how in ("auto", "none", "sketch"))
    assert auto == none == sketch


def test_what_was_done_is_recorded_shown_and_kept(model, tmp_path):
    drawings.photo(0, 1).save(tmp_path / "photo.png")
    events = translate(model, tmp_path / "photo.png", tmp_path / "out.png", save_prepared=tmp_path / "shown")
    (planned,) = (event for event in events if isinstance(event, Planned))
    assert planned.facts["Prepare"].startswith("auto (the model expects dark lines on white")
    assert record(tmp_path / "out.png")["prepare"] == "auto"
    assert "cropped to the drawing" in record(tmp_path / "out.png")["prepared"]
    shown = open_picture(tmp_path / "shown" / "out.png")
    translate(model, tmp_path / "shown" / "out.png", tmp_path / "again.png", noise_name="photo.png")
    assert shown.size == (shown.width, shown.width)
    assert open_picture(tmp_path / "again.png").tobytes() == open_picture(tmp_path / "out.png").tobytes()


def test_objects_are_translated_one_by_one_and_put_back(model, tmp_path):
    drawings.six().save(tmp_path / "six.png")
    for objects in ("auto", "one"):
        translate(model, tmp_path / "six.png", tmp_path / f"{objects}.png", objects=objects)
    translate(model, tmp_path / "six.png", tmp_path / "large.png", keep_size=True)
    auto, large = open_picture(tmp_path / "auto.png"), open_picture(tmp_path / "large.png")
    assert large.size == (1500, 1050)
    assert auto.size[0] / auto.size[1] == pytest.approx(1500 / 1050, rel=0.02)
    assert open_picture(tmp_path / "one.png").size[0] == 64
    for number in range(6):  # something is in each place, and nothing between
        x, y = 60 + number % 3 * 500, 50 + number // 3 * 530
        assert np.asarray(large.crop((x, y, x + 300, y + 300))).mean() < 245
    assert np.asarray(large.crop((400, 0, 520, 1050))).min() > 250


def test_an_object_of_many_is_that_of_a_page_of_its_own(model, tmp_path):
    drawings.six().save(tmp_path / "six.png")
    translate(model, tmp_path / "six.png", tmp_path / "six_out.png", save_prepared=tmp_path / "parts")
    translate(model, tmp_path / "parts" / "six_out-4.png", tmp_path / "four.png", noise_name="six.png#4")
    four = np.asarray(open_picture(tmp_path / "four.png")).astype(int)
    page = open_picture(tmp_path / "six_out.png")
    place = page.crop((0, page.height // 2, page.width // 3, page.height))
    assert place.width > 60
    differences = [
        np.abs(np.asarray(place.crop((x, y, x + 60, y + 60))).astype(int) - four[:60, :60]).mean()
        for x in range(place.width - 60)
        for y in range(place.height - 60)
    ]
    assert min(differences) < 12


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.new("RGB", (300, 300), "white"), "empty"),
        (Image.effect_noise((300, 300), 120).convert("RGB"), "photograph"),
    ],
    ids=["empty", "photograph"],
)
def test_what_cannot_be_mended_is_noted_or_an_error(model, tmp_path, image, kind):
    image.save(tmp_path / "image.png")
    events = translate(model, tmp_path / "image.png", tmp_path / "out.png")
    (note,) = (event for event in events if isinstance(event, Noticed))
    assert kind in note.message and str(tmp_path / "image.png") in note.message
    events = translate(model, tmp_path / "image.png", tmp_path / "strict.png", strict=True)
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert kind in failed.message
    assert not (tmp_path / "strict.png").exists()


def test_without_preparation_everything_is_noted(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    made = drawings.kinds(0)
    made["thin"].resize((3000, 2100), Image.Resampling.LANCZOS).save(folder / "thin.png")
    made["inverted"].save(folder / "inverted.png")
    drawings.six().save(folder / "six.png")
    events = translate(model, folder, tmp_path / "out", prepare="none")
    notes = " ".join(event.message for event in events if isinstance(event, Noticed))
    for words in ("too thin", "3000x2100 pixels", "light lines on a dark ground", "6 separate objects"):
        assert words in notes
    events = translate(model, folder, tmp_path / "strict", prepare="none", strict=True)
    assert sum(isinstance(event, Failed) for event in events) == 3
    assert not any(isinstance(event, Noticed) for event in translate(model, folder, tmp_path / "auto"))


def test_many_notes_of_a_kind_are_counted(model, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(9):
        Image.new("RGB", (80, 80), "white").save(tmp_path / "in" / f"{number}.png")
    notes = [event for event in translate(model, tmp_path / "in", tmp_path / "out") if isinstance(event, Noticed)]
    assert len(notes) == 6
    assert len(notes[-1].names) == 4


def test_settings_of_sketch_change_the_result(model, tmp_path):
    drawings.kinds(1)["faint"].save(tmp_path / "faint.png")
    bodies = set()
    for how in ("auto", "none", "sketch:line_width=1", "sketch:margin=0.2", "sketch:crop=no", "sketch:light=no"):
        translate(model, tmp_path / "faint.png", tmp_path / "out.png", prepare=how, overwrite=True)
        bodies.add(open_picture(tmp_path / "out.png").tobytes())
    assert len(bodies) == 6


@pytest.mark.parametrize("spec", ["blur", "sketch:colour=1", "sketch:line_width=-1", "sketch:margin=2", "auto:page=no"])
def test_other_values_are_refused(model, tmp_path, spec):
    drawings.clean(0).save(tmp_path / "clean.png")
    with pytest.raises(UsageError):
        translate(model, tmp_path / "clean.png", tmp_path / "out.png", prepare=spec)


def test_models_that_state_nothing_get_images_as_they_are(tmp_path):
    tiny = load_model(str(write_tiny(tmp_path / "tiny.safetensors")), device="cpu")
    drawings.photo(0, 1).save(tmp_path / "photo.png")
    for how in ("auto", "none", "sketch"):
        events = translate(tiny, tmp_path / "photo.png", tmp_path / f"{how}.png", prepare=how)
        assert not any(isinstance(event, Noticed) for event in events)
    auto, none, sketch = ((tmp_path / f"{how}.png").read_bytes() for how in ("auto", "none", "sketch"))
    assert auto == none != sketch


def test_a_prepared_image_is_made_again(ddbm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawings.photo(2, 3, shadow=True).save("photo.png")
    drawings.six().save("six.png")
    for name, more in (
        ("photo", ["--prepare", "sketch:line_width=1,page=no"]),
        ("six", []),
        ("one", ["--objects", "one"]),
    ):
        source = f"{'six' if name == 'one' else name}.png"
        code, _, err = ddbm("translate", source, f"out/{name}.png", "--steps", "2", "-q", "-m", NAME, *more)
        assert code == 0, err
        code, out, err = ddbm("show", f"out/{name}.png", "--command")
        assert code == 0, err
        code, _, err = ddbm(*shlex.split(out.decode())[1:], "-o", f"again/{name}.png", "-q")
        assert code == 0, err
        assert (tmp_path / "again" / f"{name}.png").read_bytes() == (tmp_path / "out" / f"{name}.png").read_bytes()


def results(model, images, folder, **options):
    """Results of images, uint8 (N, 3, 64, 64), on white where they are not square."""
    folder.mkdir()
    (folder / "in").mkdir()
    for name, image in images.items():
        image.save(folder / "in" / f"{name}.png")
    events = translate(model, folder / "in", folder / "out", steps=None, **options)
    assert sum(isinstance(event, Written) for event in events) == len(images)
    made = []
    for name in images:
        image, square = open_picture(folder / "out" / f"{name}.png"), Image.new("RGB", (64, 64), "white")
        square.paste(image, ((64 - image.width) // 2, (64 - image.height) // 2))
        made.append(torch.from_numpy(np.array(square)).permute(2, 0, 1))
    return torch.stack(made)


def distance(outputs, targets):
    metric = SlicedWasserstein(torch.device("cpu"))
    index = torch.arange(len(outputs))
    metric.add("outputs", index, outputs)
    metric.add("targets", index, targets)
    return metric.figures()[0].value


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_results_are_near_those_of_clean_sketches(model, tmp_path, count):
    """Sliced Wasserstein distance to the results of the clean sketches, at most 0.35 of that without preparation."""
    made = {
        f"{kind}-{which}": drawing
        for which in range(count)
        for kind, drawing in drawings.kinds(which, seed=20 + which).items()
    }
    clean = {name: drawings.clean(int(name[-1])) for name in made}
    targets = results(model, clean, tmp_path / "clean")
    prepared = results(model, made, tmp_path / "prepared")
    plain = results(model, made, tmp_path / "plain", prepare="none")
    assert distance(prepared, targets) < 0.35 * distance(plain, targets)
