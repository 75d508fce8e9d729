"""Transparency of results: kept from the input's silhouette, cut out of the result, or none."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.imaging.alpha import cut_out, outside, silhouette
from ddbm_cli.tasks.translate import request, run
from tests.tiny import write_tiny


def drawing(size=32):
    """A circle of thin lines on a transparent background."""
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((6, 6, size - 7, size - 7), outline=(0, 0, 0, 255), width=2)
    return image


def test_what_lines_enclose_is_opaque():
    alpha = np.asarray(silhouette(drawing().getchannel("A")))
    assert alpha[0, 0] == 0 and alpha[16, 16] == 255 and alpha[16, 6] == 255


def test_lines_within_are_opaque_and_the_edge_stays_soft():
    alpha = np.zeros((9, 9), dtype=np.uint8)
    alpha[1:8, 1:8], alpha[2:7, 2:7], alpha[3:6, 3:6] = 60, 120, 0
    alpha[4, 4] = 40  # a faint dot within
    alpha[0, 0] = 90  # a faint one outside
    kept = np.array(silhouette(Image.fromarray(alpha)))
    assert np.array_equal(kept[3:6, 3:6], np.full((3, 3), 255))
    kept[3:6, 3:6] = alpha[3:6, 3:6]
    assert np.array_equal(kept, alpha)


def test_a_winding_passage_is_outside():
    free = np.ones((9, 9), dtype=bool)
    free[1, 1:8] = free[1:8, 1] = free[7, 1:8] = free[3:8, 7] = free[3, 3:8] = free[3:6, 3] = False
    reached = outside(free)
    assert reached[2, 2] and reached[5, 4]
    free[2, 7] = free[1, 8] = free[2, 8] = False
    assert not outside(free)[2, 2]


def test_the_background_of_a_result_is_cut_out():
    image = Image.new("RGB", (16, 16), "white")
    image.paste((200, 40, 40), (4, 4, 12, 12))
    image.paste((255, 255, 255), (7, 7, 9, 9))
    alpha = np.asarray(cut_out(image, 255))
    assert alpha[0, 0] == 0 and alpha[5, 5] == 255 and alpha[8, 8] == 255, "white within the object is no background"


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("keep_size", [False, True])
def test_outputs_are_transparent_as_asked(tmp_path, format, keep_size):
    model = str(write_tiny(tmp_path / "tiny.safetensors"))
    drawing().save(tmp_path / "in.png")
    images = {}
    for alpha in ("white", "keep", "cut"):
        file = tmp_path / f"{alpha}.{format}"
        asked = request(
            source=str(tmp_path / "in.png"), output=file, model=model, device="cpu", alpha=alpha, keep_size=keep_size
        )
        list(run(asked))
        images[alpha] = Image.open(file)
    modes = {name: image.mode for name, image in images.items()}
    if format == "jpg":
        assert set(modes.values()) == {"RGB"}
        return
    assert (modes["white"], modes["keep"]) == ("RGB", "RGBA")
    assert modes["cut"] == "RGBA" or format == "webp", "WebP leaves out alpha that is 255 everywhere"
    kept = np.asarray(images["keep"])
    middle = len(kept) // 2
    assert kept[0, 0, 3] == 0 and kept[middle, middle, 3] == 255
    if format == "png":
        assert np.array_equal(kept[..., :3], np.asarray(images["white"])), "colours are those of the opaque result"


def test_an_input_without_transparency_stays_opaque(tmp_path):
    model = str(write_tiny(tmp_path / "tiny.safetensors"))
    Image.new("RGB", (20, 20), "white").save(tmp_path / "in.png")
    list(run(request(source=str(tmp_path / "in.png"), output=tmp_path / "o.png", model=model, alpha="keep")))
    assert Image.open(tmp_path / "o.png").mode == "RGB"
