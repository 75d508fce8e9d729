"""Pictures from a prior, and a prior as editor."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.tasks import recreate, translate
from ddbm_cli.tasks.events import Evaluated, Finished, Intended, Kept, Planned, Written
from ddbm_cli.tasks.sample import request, run
from tests.tasks.test_translate import close, kinds
from tests.tiny import NETWORK, picture, write_tiny

PRIOR = {
    "task": "-> picture",
    "network": NETWORK | {"in_channels": 3},
    "path": {"name": "ve"},
    "kind": "prior",
    "concat_source": False,
    "defaults": {
        "sampler": {"name": "heun", "churn": 0.0},
        "grid": {"name": "karras"},
        "start": {"name": "prior"},
        "steps": 3,
    },
}


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "prior.safetensors", **PRIOR))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "bridge.safetensors"))


def draw(root, prior, folder="out", **options):
    return list(run(request(output=root / folder, model=prior, device="cpu", **{"number": 5, **options})))


def pixels(folder):
    return {path.name: open_picture(path).tobytes() for path in sorted(folder.glob("*.png"))}


def test_images_are_numbered_and_every_call_is_reported(tmp_path, prior):
    events = draw(tmp_path, prior, batch_size=3, sampler="heun:churn=0", nfe=4)
    assert sorted(pixels(tmp_path / "out")) == [f"{index:06d}.png" for index in range(5)]
    assert [event.nfe for event in kinds(events, Evaluated)] == [1, 2, 3] * 2
    assert len({*pixels(tmp_path / "out").values()}) == 5 and kinds(events, Finished)[0].written == 5


def test_a_folder_grows_and_batches_do_not_count(tmp_path, prior):
    draw(tmp_path, prior, number=2, batch_size=1)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    events = draw(tmp_path, prior)
    assert len(kinds(events, Kept)) == 2 and not any(event.differs for event in kinds(events, Kept))
    assert len(kinds(events, Written)) == 3
    assert all(path.read_bytes() == body for path, body in before.items())
    draw(tmp_path, prior, "whole", batch_size=5)
    assert close(pixels(tmp_path / "out"), pixels(tmp_path / "whole"))


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"sampler": "dbim"}, {"sampler": "sde"}, {"grid": "log-snr"}, {"nfe": 7}], ids=str
)
def test_every_option_changes_the_images(tmp_path, prior, options):
    draw(tmp_path, prior, "plain", number=1)
    draw(tmp_path, prior, "other", **{"number": 1, **options})
    assert pixels(tmp_path / "plain") != pixels(tmp_path / "other")
    kept = kinds(draw(tmp_path, prior, "plain", **{"number": 1, **options}), Kept)
    assert kept[0].differs.startswith("another")


def test_sheet_and_archive_show_all(tmp_path, prior):
    draw(tmp_path, prior, sheet=tmp_path / "sheet.png", npz=tmp_path / "all.npz")
    pixels_of_all = np.load(tmp_path / "all.npz")["arr_0"]
    assert pixels_of_all.shape == (5, 16, 16, 3) and pixels_of_all.dtype == np.uint8
    assert pixels_of_all[3].tobytes() == pixels(tmp_path / "out")["000003.png"]
    assert Image.open(tmp_path / "sheet.png").size[0] > 5 * 16


def test_a_dry_run_makes_nothing(tmp_path, prior):
    events = draw(tmp_path, prior, dry_run=True)
    assert len(kinds(events, Intended)) == 5 and not (tmp_path / "out").exists()


def test_a_sample_has_the_command_that_recreates_it(tmp_path, prior):
    draw(tmp_path, prior, seed=3)
    (tmp_path / "prior.safetensors").write_bytes(Path(prior).read_bytes())
    words = recreate.recreate(tmp_path / "out" / "000004.png").command.split()
    assert words[:6] == ["ddbm", "sample", "--start", "4", "-n", "1"] and words[words.index("--seed") + 1] == "3"


def test_a_bridge_from_noise_makes_images(tmp_path, prior):
    """DDBM's unconditional case: a card of a bridge that starts with `prior`, and a network that sees no source."""
    sampler = {"name": "heun", "churn": 0.0, "doob_weight": 0.5}
    changes = {"path": {"name": "ve-bridge"}, "defaults": PRIOR["defaults"] | {"sampler": sampler}}
    model = str(write_tiny(tmp_path / "unconditional.safetensors", **PRIOR | changes))
    draw(tmp_path, model, number=2)
    assert len({*pixels(tmp_path / "out").values()}) == 2
    picture(0).save(tmp_path / "in.png")
    with pytest.raises(UsageError, match="bridge from noise"):
        edit(tmp_path, model)


def test_a_bridge_and_a_prior_are_distinguished(tmp_path, prior, bridge):
    with pytest.raises(UsageError, match="is a bridge") as caught:
        draw(tmp_path, bridge)
    assert "ddbm translate" in caught.value.hint
    picture(0).save(tmp_path / "in.png")
    with pytest.raises(UsageError, match="is a prior") as caught:
        edit(tmp_path, prior, method="bridge")
    assert "--method sdedit" in caught.value.hint and "ddbm sample" in caught.value.hint
    with pytest.raises(UsageError, match="SDEdit needs a prior"):
        edit(tmp_path, bridge)


@pytest.mark.parametrize("given", [{"number": 0}, {"seed": -1}, {"batch_size": 0}], ids=str)
def test_bad_values_are_explained(tmp_path, given):
    with pytest.raises(UsageError, match=f"--{next(iter(given)).replace('_', '-')}"):
        request(output=tmp_path, **given)


def edit(root, prior, name="edited.png", **options):
    asked = {"source": str(root / "in.png"), "output": root / name, "model": prior, "device": "cpu", "method": "sdedit"}
    return list(translate.run(translate.request(**asked | options)))


def test_sdedit_edits_by_strength(tmp_path, prior):
    picture(0).save(tmp_path / "in.png")
    for strength in (0.0, 0.3, 0.6):
        events = edit(tmp_path, prior, f"{strength}.png", strength=strength)
        assert f"strength {strength:g} = sigma" in kinds(events, Planned)[0].facts["Sampling"]
    made = {path.name: open_picture(path).tobytes() for path in tmp_path.glob("0.*.png")}
    assert made["0.0.png"] == open_picture(tmp_path / "in.png").convert("RGB").tobytes()
    assert len({*made.values()}) == 3
    start = json.loads(read_text(tmp_path / "0.3.png")["ddbm"])["start"]
    assert start == {"name": "noised", "strength": 0.3, "repeats": 1}
    (tmp_path / "prior.safetensors").write_bytes(Path(prior).read_bytes())
    assert "--method sdedit --strength 0.3" in recreate.recreate(tmp_path / "0.3.png").command
    assert kinds(edit(tmp_path, prior, "0.3.png", strength=0.5), Kept)[0].differs
    with pytest.raises(UsageError, match=r"--strength must be at most 1(.0)?, not 1\.5"):
        edit(tmp_path, prior, strength=1.5)
