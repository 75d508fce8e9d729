"""The built-in model: complete, described, offline, and doing its work."""

import hashlib
import math
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

import ddbm_cli
from ddbm_cli.foundation.fields import declared
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess, to_tensor
from ddbm_cli.models import builtin_path, load_model
from ddbm_cli.models.codecs import load_codec
from ddbm_cli.options.groups import ModelOptions
from ddbm_cli.samplers import NoiseSource, finish

ROOT = Path(__file__).parent.parent
SKETCHES = Path(ddbm_cli.__file__).parent / "assets" / "sketches"


def check_file(name, *, most):
    """The file of a built-in model is what the registry says, and has at most so many bytes."""
    table = tomllib.loads((ROOT / "weights.toml").read_text())[name]
    body = (ROOT / table["file"]).read_bytes()
    assert len(body) <= most
    assert table["size"] == len(body) and table["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.fixture(scope="module")
def model():
    return load_model(device="cpu")


def test_it_is_small_and_its_sketches_are_there():
    assert builtin_path().stat().st_size <= 16e6
    names = [path.stem for path in SKETCHES.glob("*.png")]
    assert 12 <= len(names) <= 16 and (SKETCHES / "LICENSE").exists()
    assert {name.rsplit("-", 1)[1] for name in names} == {"ink", "pencil"}


def test_its_card_has_what_a_user_needs(model):
    card = model.card
    assert card.licence == "MIT" and "Fluent Emoji" in card.data and card.limits != "not stated"
    assert card.training["steps"] > 0 and card.training["seconds"] > 0
    assert {"ink", "pencil"} <= card.scores.keys()


def test_the_help_of_model_names_it():
    assert declared(ModelOptions)["model"].field.unset == builtin_path().stem


def test_the_registry_names_its_file_and_digest():
    check_file("sketch-to-3d-64", most=16e6)


def test_it_colours_its_sketches_on_white_paper(model):
    sources = [model.card.preprocess.forward(open_picture(path))[0] for path in sorted(SKETCHES.glob("*.png"))]
    source = torch.stack(sources)
    names = [str(index) for index in range(len(source))]
    result = finish(model.translate(source, NoiseSource(0, names), model.plan())).clamp(-1, 1)
    border = torch.cat([result[..., 0, :], result[..., -1, :]], dim=-1)
    assert border.mean() > 0.95, "paper stays white"
    darker = (result.mean(1) < 0.8).float().mean((1, 2)) - (source.mean(1) < 0.8).float().mean((1, 2))
    assert (darker > 0.03).float().mean() > 0.8, "shapes are filled"
    pencil = torch.tensor([path.stem.endswith("pencil") for path in sorted(SKETCHES.glob("*.png"))])
    colour = (result.amax(1) - result.amin(1)).mean((1, 2))
    assert colour[pencil].mean() > 0.05, "with colour"


def test_the_fast_version_is_small_takes_two_evaluations_and_its_card_has_the_teachers_scores():
    check_file("sketch-to-3d-64-fast", most=16e6)
    fast = load_model("sketch-to-3d-64-fast", device="cpu")
    assert fast.plan().nfe == 2 and fast.card.training["teacher"] == "sketch-to-3d-64"
    ink = fast.card.scores["ink"]
    for figure in ("mse", "swd"):
        assert ink["nfe_2"][figure] < 1.1 * ink["teacher_nfe_20"][figure]
    assert ink["nfe_2"]["diversity"] > 0.7 * ink["teacher_nfe_20"]["diversity"]


def test_the_recipe_of_the_fast_version_is_what_its_card_says():
    recipe = tomllib.loads((ROOT / "tests" / "recipes" / "sketch-to-3d-64-fast.toml").read_text())
    training = load_model("sketch-to-3d-64-fast", device="cpu").card.training
    for name in ("steps", "batch_size", "precision"):
        assert recipe["recipe"][name] == training[name], name
    assert (recipe["method"], recipe["teacher"]) == (training["method"], training["teacher"])


def garment(colour):
    """A T-shirt drawn by a line of one colour on white paper, (1, 3, 256, 256)."""
    left = [(80, 40), (24, 90), (52, 120), (72, 100), (72, 216)]
    outline = [*left, *((256 - x, y) for x, y in reversed(left))]
    sheet = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(sheet).line([*outline, outline[0]], fill=colour, width=2)
    return to_tensor(sheet)[None]


def test_the_garment_model_is_small_and_fills_a_drawn_garment_with_the_colour_of_its_lines():
    check_file("sketch-to-clothing-256", most=24e6)
    model = load_model("sketch-to-clothing-256", device="cpu")
    assert model.card.licence == "MIT" and "CC0" in model.card.data and model.card.limits != "not stated"
    assert {"ink", "pencil"} <= model.card.scores.keys() and model.card.scores["ink"]["images"] == 260
    red, blue = (
        finish(model.translate(garment(colour), NoiseSource(0, ["x"]), model.plan())).clamp(-1, 1)[0]
        for colour in ((200, 40, 40), (40, 60, 200))
    )
    for result in (red, blue):
        assert result.shape == (3, 256, 256)
        assert result[:, :20].mean() > 0.9 and result[:, -20:].mean() > 0.9, "paper stays white"
        assert result[:, 120:200, 90:166].mean() < 0.5, "cloth is not"
    middle = [each[:, 120:200, 90:166].mean((1, 2)) for each in (red, blue)]
    assert middle[0][0] - middle[0][2] > 0.1 and middle[1][2] - middle[1][0] > 0.1


def test_the_autoencoder_is_small_and_restores_sketches():
    check_file("autoencoder-8x", most=8e6)
    _, codec = load_codec("autoencoder-8x")
    assert (codec.factor, codec.channels) == (8, 16)
    sides = [sum(part.numel() for part in side.parameters()) for side in (codec.encoder, codec.decoder)]
    assert max(sides) <= 3e6
    preprocess = Preprocess(size=256)
    images = torch.stack([preprocess.forward(open_picture(file))[0] for file in sorted(SKETCHES.glob("*.png"))[:4]])
    with torch.no_grad():
        error = (codec.decode(codec.encode(images)).clamp(-1, 1) - images).square().mean()
    assert 10 * math.log10(4 / float(error)) > 20  # the mean of the card over held-out sketches is higher


def test_the_small_model_that_edits_is_small_and_its_card_has_its_figures_and_its_words():
    check_file("instruct-small", most=16e6)
    card = load_model("instruct-small", device="cpu").card
    assert card.licence == "MIT" and "Fluent Emoji" in card.data and "make it " in card.limits
    assert card.training["steps"] > 0 and card.training["seconds"] > 0
    assert {"make", "it", "red", "upside", "down"} <= set(card.vocabulary.words)
    for part, kinds in {"emoji": {"flip", "remove-background", "skin"}, "garments": {"stripes"}}.items():
        assert card.scores[part]["held_out_images"] >= 100
        assert kinds | {"recolour", "darker", "all"} <= card.scores[part]["1:1"].keys()
