"""--metadata: what outputs store of how they were made."""

import json

import pytest
from PIL import Image

from ddbm_cli.imaging.io import read_text


@pytest.mark.parametrize("level", ["full", "basic", "none"])
def test_outputs_store_what_is_asked_for(ddbm, folder, model, level):
    arguments = ["translate", folder / "in", folder / "out", "-m", model, "--metadata", level]
    code, _, err = ddbm(*arguments)
    texts = read_text(folder / "out" / "0.png")
    assert code == 0, err
    if level == "none":
        assert texts == {}
    else:
        record = json.loads(texts["ddbm"])
        named = {"source", "noise_name"} <= set(record)
        assert named == (level == "full") and record["seed"] == 0 and record["model_sha256"]
        assert ("0.png" in texts["ddbm"] or '"0"' in texts["ddbm"]) == (level == "full")
    code, out, err = ddbm(*arguments)
    assert code == 0 and out == b"" and "3 kept" in err and ("not made by this command" in err) == (level == "none")
    code, _, err = ddbm("show", folder / "out" / "0.png", "--command", "--search", folder, "--search", model.parent)
    assert code == (0 if level == "full" else 3) and (level != "basic" or "--metadata full" in err)


def test_the_pixels_are_the_same(ddbm, folder, model):
    made = []
    for level in ("full", "none"):
        ddbm("translate", folder / "in" / "0.png", folder / f"{level}.png", "-m", model, "--metadata", level)
        made.append(Image.open(folder / f"{level}.png").tobytes())
    assert made[0] == made[1]


def test_images_from_noise_are_kept_and_grow(ddbm, tmp_path):
    for number in (1, 2):
        code, out, err = ddbm("sample", "-n", number, "-o", tmp_path, "--steps", 1, "--metadata", "basic")
        assert code == 0 and len(out.splitlines()) == 1, err
