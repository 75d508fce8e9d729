"""`--tile`: images of any size and shape in their own size, without seams, shifts or changes of scale."""

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import assemble, write_model
from ddbm_cli.models.assemble import assemble_codec, weights_of
from ddbm_cli.tasks.events import Failed, Planned, Written
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.tiny import NETWORK, picture, tiny_card, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def translate(source, output, model, **options):
    body = {"source": str(source), "output": output, "model": model, "device": "cpu"}
    return list(run(TranslateRequest(**(body | options))))


def made(events):
    (written,) = [event for event in events if isinstance(event, Written)]
    return np.asarray(open_picture(written.output)).astype(int)


@pytest.fixture
def large(tmp_path):
    picture(1, 75).crop((0, 0, 75, 43)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


def test_an_image_keeps_its_size(large, model, tmp_path):
    events = translate(large, tmp_path / "out.png", model, tile="16")
    (planned,) = [event for event in events if isinstance(event, Planned)]
    assert planned.facts["Tiles"] == "16x16 pixels, at least 4 shared"
    assert "size of the input" in planned.facts["Output"]
    assert made(events).shape == (43, 75, 3)
    assert made(translate(large, tmp_path / "small.png", model)).shape == (9, 16, 3)


def test_a_tile_as_large_as_the_image_is_the_image_itself(large, model, tmp_path):
    """To the byte, and whatever the overlap and the number of tiles at once."""
    whole = made(translate(large, tmp_path / "a.png", model, tile="128"))
    again = made(translate(large, tmp_path / "b.png", model, tile="76", tile_overlap=40, batch_size=3))
    assert (whole == again).all()


def test_tiles_at_once_change_nothing(large, model, tmp_path):
    each = [
        made(translate(large, tmp_path / f"{count}.png", model, tile="16", batch_size=count, sampler="dbim:eta=1"))
        for count in (1, 2, 7)
    ]
    assert (each[0] == each[1]).all() and (each[0] == each[2]).all()


def test_the_size_of_tiles_and_their_overlap_have_an_effect(large, model, tmp_path):
    options = [{"tile": "16"}, {"tile": "32"}, {"tile": "16", "tile_overlap": 12}, {"tile": "128"}]
    each = [made(translate(large, tmp_path / f"{n}.png", model, **given)) for n, given in enumerate(options)]
    assert all((one != other).any() for n, one in enumerate(each) for other in each[:n])


def test_auto_divides_larger_images_only(large, model, tmp_path):
    assert made(translate(large, tmp_path / "a.png", model, tile="auto")).shape == (43, 75, 3)
    picture(2, 12).save(tmp_path / "small.png")
    plain, auto = (made(translate(tmp_path / "small.png", tmp_path / f"{n}.png", model, tile=n)) for n in ("0", "auto"))
    assert plain.shape == (16, 16, 3) and (plain == auto).all()
    picture(2, 40).crop((0, 0, 40, 5)).save(tmp_path / "flat.png")
    assert made(translate(tmp_path / "flat.png", tmp_path / "f.png", model, tile="auto")).shape == (5, 40, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tile": "sixteen"}, "--tile sixteen: unknown value"),
        ({"tile": "17"}, "takes multiples of 4"),
        ({"tile": "16", "tile_overlap": 16}, "is not smaller than a tile"),
        ({"tile_overlap": 4}, "--tile-overlap is for tiles"),
        ({"tile": "16", "prepare": "sketch"}, "--tile would not fit"),
        ({"tile": "16", "method": "ddib"}, "--tile is for --method bridge or sdedit"),
    ],
)
def test_tiles_that_cannot_be_are_refused(large, model, tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        translate(large, tmp_path / "out.png", model, **given)


def test_an_image_too_large_for_memory_is_reported(model, tmp_path):
    Image.new("L", (4100, 8)).save(tmp_path / "wide.png")
    events = translate(tmp_path / "wide.png", tmp_path / "out.png", model, tile="16")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert "too many" in failed.message and "4096" in failed.hint


def crosses(width, height, step=24):
    """Return an image with a grid of black crosses, and their centres."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    centres = [(x, y) for y in range(step // 2, height - 6, step) for x in range(step // 2, width - 6, step)]
    for x, y in centres:
        pixels[y - 5 : y + 6, x - 1 : x + 2] = 0
        pixels[y - 1 : y + 2, x - 5 : x + 6] = 0
    return Image.fromarray(pixels), centres


def found(pixels, centres, reach=8):
    """Return the centres of mass of the dark around each centre."""
    dark = 255 - np.asarray(pixels).mean(2)
    places = []
    for x, y in centres:
        top, left = max(y - reach, 0), max(x - reach, 0)
        part = dark[top : y + reach + 1, left : x + reach + 1]
        rows, columns = np.indices(part.shape)
        places.append((left + (columns * part).sum() / part.sum(), top + (rows * part).sum() / part.sum()))
    return np.array(places)


CODEC = {"name": "autoencoder", "channels": 12, "latent_channels": 12, "multipliers": [1], "patch": 2, "blocks": 1}


def write_copying(path, **changes):
    """Write a model whose network is 0, which on a straight path keeps the source."""
    channels = 12 if "codec" in changes else 3
    network = NETWORK | {"in_channels": 2 * channels, "out_channels": channels}
    card = tiny_card(
        network=network,
        path={"name": "rectified"},
        prediction={"name": "velocity"},
        clip=False,
        preprocess=Preprocess(size=128),
        **changes,
    )
    denoiser, codec = assemble(card), assemble_codec(card)
    for parameter in denoiser.network.parameters():
        torch.nn.init.zeros_(parameter)
    if codec.factor > 1:
        codec.begin(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    write_model(path, card, weights_of(denoiser, codec))
    return path


@pytest.fixture(scope="module", params=["pixels", "latents"])
def copying(request, tmp_path_factory):
    """A model whose estimate is its source; of latents, with an autoencoder that keeps all of an image."""
    codec = {"codec": CODEC} if request.param == "latents" else {}
    return write_copying(tmp_path_factory.mktemp(request.param) / "copy.safetensors", **codec)


@pytest.mark.parametrize(
    "options",
    [{"tile": "64"}, {"tile": "256"}, {"keep_size": True, "fit": "pad"}, {"keep_size": True, "fit": "stretch"}],
)
@pytest.mark.parametrize("size", [(203, 155), (120, 199), (128, 128)])
def test_a_grid_of_crosses_stays_where_it_is(copying, tmp_path, options, size):
    image, centres = crosses(*size)
    image.save(tmp_path / "crosses.png")
    result = made(translate(tmp_path / "crosses.png", tmp_path / "out.png", str(copying), **options))
    assert result.shape == (size[1], size[0], 3)
    moved = found(result, centres) - centres
    assert np.abs(moved).max() < 0.5 and np.abs(moved.mean(0)).max() < 0.1
