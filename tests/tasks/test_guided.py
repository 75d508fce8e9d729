"""SDEdit's masks, guides and repeats, on files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.tasks import recreate, translate
from ddbm_cli.tasks.events import Failed, Kept, Written
from tests.tasks.test_sample import PRIOR
from tests.tasks.test_translate import kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "prior.safetensors", **PRIOR))


@pytest.fixture
def root(tmp_path):
    """Two pictures, a mask of the left half and one of the right, and strokes."""
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for index, left in enumerate((0, 8)):
        picture(index).save(tmp_path / "in" / f"{index}.png")
        mask = Image.new("L", (16, 16), 0)
        mask.paste(255, (left, 0, left + 8, 16))
        mask.save(tmp_path / "masks" / f"{index}.png")
    Image.new("RGB", (16, 16), "orange").save(tmp_path / "strokes.png")
    return tmp_path


def edit(root, prior, folder="out", **options):
    asked = {"source": str(root / "in"), "output": root / folder, "model": prior, "device": "cpu", "method": "sdedit"}
    return list(translate.run(translate.request(**asked | options)))


def made(root, folder="out"):
    return [np.asarray(open_picture(path).convert("RGB")) for path in sorted((root / folder).glob("*.png"))]


@pytest.mark.parametrize(
    "options", [{}, {"repeats": 2}, {"sampler": "sde"}, {"sampler": "dbim", "strength": 1}], ids=str
)
def test_black_stays_as_it_is(root, prior, options):
    edit(root, prior, mask=root / "masks", **options)
    first, second = made(root)
    before = made(root, "in")
    assert np.array_equal(first[:, 8:], before[0][:, 8:]) and not np.array_equal(first[:, :8], before[0][:, :8])
    assert np.array_equal(second[:, :8], before[1][:, :8]) and not np.array_equal(second[:, 8:], before[1][:, 8:])


def test_a_mask_and_a_guide_go_together(root, prior):
    """What stays is the guide, which is not the picture."""
    edit(root, prior, "plain", guide="blur:sigma=1", strength=0.0)
    edit(root, prior, mask=root / "masks", guide="blur:sigma=1")
    assert np.array_equal(made(root)[0][:, 8:], made(root, "plain")[0][:, 8:])
    assert not np.array_equal(made(root)[0][:, 8:], made(root, "in")[0][:, 8:])


def options_of(root):
    return {
        "repeats": {"repeats": 2},
        "blur": {"guide": "blur"},
        "sigma": {"guide": "blur:sigma=1"},
        "colour": {"guide": f"colour:{root / 'strokes.png'}"},
        "mask": {"mask": root / "masks" / "0.png"},
        "masks": {"mask": root / "masks"},
    }


@pytest.mark.parametrize("name", ["repeats", "blur", "sigma", "colour", "mask", "masks"])
def test_every_option_acts_and_is_recorded(root, prior, name):
    options = options_of(root)[name]
    edit(root, prior, strength=0.4)
    edit(root, prior, "other", strength=0.4, **options)
    assert all(not np.array_equal(*pair) for pair in zip(made(root), made(root, "other"), strict=True))
    kept = kinds(edit(root, prior, strength=0.4, **options), Kept)
    assert len(kept) == 2 and all(event.differs.startswith("another") for event in kept)
    back = kinds(edit(root, prior, "other", strength=0.4), Kept)
    assert len(back) == 2 and all(event.differs.startswith("another") for event in back)
    again = kinds(edit(root, prior, "other", strength=0.4, **options), Kept)
    assert len(again) == 2 and not any(event.differs for event in again)
    assert str(root) not in read_text(root / "other" / "0.png")["ddbm"]


def test_a_changed_mask_is_noticed(root, prior):
    edit(root, prior, mask=root / "masks")
    (root / "masks" / "1.png").write_bytes((root / "masks" / "0.png").read_bytes())
    differs = [event.differs for event in kinds(edit(root, prior, mask=root / "masks"), Kept)]
    assert differs == ["", "another mask file"]
    (root / "masks" / "1.png").unlink()
    differs = [event.differs for event in kinds(edit(root, prior, mask=root / "masks"), Kept)]
    assert differs == ["", "a file that belongs to it cannot be read"]


def test_an_image_without_its_mask_is_skipped_and_reported(root, prior):
    (root / "masks" / "0.png").unlink()
    events = edit(root, prior, mask=root / "masks")
    assert len(kinds(events, Failed)) == 1 and len(kinds(events, Written)) == 1
    assert "no mask for 0.png" in kinds(events, Failed)[0].message


def test_an_edit_holds_how_to_make_it_again(root, prior):
    (root / "prior.safetensors").write_bytes(Path(prior).read_bytes())
    edit(root, prior, mask=root / "masks", guide="blur:sigma=2", repeats=3)
    words = recreate.recreate(root / "out" / "0.png", search=[root]).command
    for part in ("--repeats 3", "--guide blur:sigma=2.0", f"--mask {root / 'masks' / '0.png'}"):
        assert part in words
    assert json.loads(read_text(root / "out" / "0.png")["ddbm"])["nfe"] % 3 == 0


@pytest.mark.parametrize("given", [{"guide": "blur"}, {"repeats": 2}], ids=str)
def test_options_of_sdedit_are_for_sdedit(root, prior, given):
    with pytest.raises(UsageError, match=f"--{next(iter(given))} is for --method sdedit"):
        edit(root, prior, method="bridge", **given)


@pytest.mark.parametrize("given", [{"repeats": 0}, {"repeats": 101}, {"guide": "smear"}, {"mask": "none"}], ids=str)
def test_bad_values_are_explained(root, prior, given):
    with pytest.raises(UsageError):
        edit(root, prior, **given)
    assert not (root / "out").exists()
