"""Bridges that fill holes: what a mask leaves black is kept to the last bit, what it has white is made anew."""

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import load_model
from ddbm_cli.models.selfcheck import self_check
from ddbm_cli.samplers import NoiseSource
from ddbm_cli.tasks import recreate, sample, translate
from tests.tiny import picture, write_tiny

PATHS = ({"name": "vp-bridge"}, {"name": "i2sb", "beta_max": 1.0})


@pytest.fixture
def root(tmp_path):
    """A picture, one that differs from it in the hole alone, and a mask with the hole."""
    (tmp_path / "in").mkdir()
    picture(0).save(tmp_path / "in" / "a.png")
    other = picture(0)
    other.paste("purple", (4, 4, 12, 12))
    (tmp_path / "other").mkdir()
    other.save(tmp_path / "other" / "a.png")
    mask = Image.new("L", (16, 16), 0)
    mask.paste(255, (4, 4, 12, 12))
    mask.save(tmp_path / "mask.png")
    return tmp_path


def filler(root, path=PATHS[0], **changes):
    prediction = {"prediction": {"name": "i2sb"}} if path["name"] == "i2sb" else {}
    return str(write_tiny(root / "filler.safetensors", inpainting=True, path=path, **prediction, **changes))


def fill(root, model, folder="out", source="in", **options):
    asked = {"source": str(root / source), "output": root / folder, "model": model, "device": "cpu"}
    list(translate.run(translate.request(**asked | {"mask": root / "mask.png"} | options)))
    return np.asarray(open_picture(root / folder / "a.png").convert("RGB"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path["name"])
@pytest.mark.parametrize("sampler", ["dbim", "dbim-2", "sde"])
def test_all_but_the_hole_is_kept_and_the_hole_is_not_looked_at(root, path, sampler):
    model = filler(root, path)
    made = fill(root, model, sampler=sampler, nfe=6)
    before = np.asarray(open_picture(root / "in" / "a.png").convert("RGB"))
    hole = np.zeros((16, 16), bool)
    hole[4:12, 4:12] = True
    assert np.array_equal(made[~hole], before[~hole]) and not np.array_equal(made[hole], before[hole])
    assert np.array_equal(made, fill(root, model, "again", source="other", sampler=sampler, nfe=6))


def test_every_estimate_is_the_source_outside_of_the_hole(root):
    """As DBIM samples them: x0 = mask D(x, t, x_T) + (1 - mask) x_T."""
    model = load_model(filler(root), device="cpu")
    source, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 1
    calls = list(model.translate(source, NoiseSource(0, ["a"]), model.plan(nfe=5), mask=mask))
    free = list(model.translate(source, NoiseSource(0, ["a"]), model.plan(nfe=5)))
    outside = mask.expand_as(source) == 0
    assert len(calls) == 5
    for call in calls:
        assert torch.equal(call.x0[outside], source[outside])
    assert not torch.equal(calls[-1].x0[~outside], free[-1].x0[~outside])  # what is known outside tells within


def test_the_command_finds_the_mask(root):
    fill(root, filler(root))
    (root / "mask.png").rename(root / "renamed.png")
    found = recreate.recreate(root / "out" / "a.png", search=[root]).command
    assert f"--mask {root / 'renamed.png'}" in found


def test_a_model_and_a_mask_belong_together(root):
    with pytest.raises(UsageError, match="is an inpainting model") as caught:
        fill(root, filler(root), mask=None)
    assert "--mask" in caught.value.hint
    with pytest.raises(UsageError, match="is not an inpainting model"):
        fill(root, str(write_tiny(root / "plain.safetensors")))
    with pytest.raises(UsageError, match="no such"):
        fill(root, filler(root), mask=root / "nothing.png")
    asked = sample.SampleRequest(output=root / "draws", source=str(root / "in"), model=filler(root), number=2)
    with pytest.raises(UsageError, match="draws are of whole images"):
        list(sample.run(asked))


def test_the_self_check_gives_it_a_hole(root):
    plain, holed = write_tiny(root / "plain.safetensors"), filler(root)
    assert self_check(load_model(plain)).fingerprint != self_check(load_model(holed)).fingerprint
