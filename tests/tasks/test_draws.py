"""Many draws of each source."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.tasks import recreate, translate
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Failed, Kept, Planned, Written
from ddbm_cli.tasks.overview import WHITE, spread_map
from ddbm_cli.tasks.sample import request, run
from tests.tasks.test_sample import PRIOR
from tests.tasks.test_translate import close, kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "bridge.safetensors"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(2):
        picture(index).save(tmp_path / "in" / f"{index}.png")
    return tmp_path


def draw(root, bridge, folder="out", **options):
    given = {"source": str(root / "in"), "output": root / folder, "model": bridge, "device": "cpu", "number": 3}
    return list(run(request(**given | options)))


def pixels(folder):
    return {path.relative_to(folder).as_posix(): open_picture(path).tobytes() for path in folder.rglob("*.png")}


def test_each_source_has_a_folder_of_draws(root, bridge):
    events = draw(root, bridge, batch_size=4)
    made = pixels(root / "out")
    assert sorted(made) == [f"{name}/{number:03d}.png" for name in (0, 1) for number in range(3)]
    assert len({*made.values()}) == 6 and len(kinds(events, Written)) == 6
    assert kinds(events, Planned)[0].facts["Input"] == "2 sources, 3 draws of each"


def test_draw_0_is_what_translate_makes(root, bridge):
    draw(root, bridge, number=1, batch_size=1)
    translate_request = translate.request(
        source=str(root / "in"), output=root / "plain", model=bridge, device="cpu", batch_size=1
    )
    list(translate.run(translate_request))
    assert [pixels(root / "out")[f"{name}/000.png"] for name in (0, 1)] == [
        pixels(root / "plain")[f"{name}.png"] for name in (0, 1)
    ]


def test_more_draws_are_added_and_batches_do_not_count(root, bridge):
    draw(root, bridge, number=1, batch_size=1)
    before = {path: path.read_bytes() for path in (root / "out").rglob("*.png")}
    events = draw(root, bridge, batch_size=2)
    assert len(kinds(events, Kept)) == 2 and not any(event.differs for event in kinds(events, Kept))
    assert all(path.read_bytes() == body for path, body in before.items())
    draw(root, bridge, "whole", batch_size=6)
    assert close(pixels(root / "out"), pixels(root / "whole"))


@pytest.mark.parametrize("options", [{"seed": 1}, {"sampler": "sde"}, {"nfe": 7}, {"fit": "stretch"}], ids=str)
def test_options_act_and_a_change_is_said(root, bridge, options):
    picture(0, 24).crop((0, 0, 24, 12)).save(root / "in" / "0.png")
    draw(root, bridge, number=1)
    draw(root, bridge, "other", number=1, **options)
    assert pixels(root / "out")["0/000.png"] != pixels(root / "other")["0/000.png"]
    assert kinds(draw(root, bridge, number=1, **options), Kept)[0].differs.startswith("another")


def test_images_between_one_draw_and_the_next(root, bridge):
    draw(root, bridge, number=2, interpolate=10)
    made = pixels(root / "out")
    assert sorted(name for name in made if name[0] == "0")[:3] == ["0/000.png", "0/000_01.png", "0/000_02.png"]
    assert len(made) == 2 * 12
    way = [np.frombuffer(made[f"0/{name}.png"], np.uint8).astype(int) for name in ("000", "000_01", "000_05", "001")]
    far = [int(np.abs(each - way[0]).sum()) for each in way]
    assert 0 == far[0] < far[1] < far[2] and far[1] < far[3]
    draw(root, bridge, "plain", number=2)
    assert close({name: made[name] for name in pixels(root / "plain")}, pixels(root / "plain"))


@pytest.fixture
def truths(root):
    """True pictures of both sources, not unlike them."""
    (root / "truth").mkdir()
    for index in range(2):
        picture(index + 3).filter(ImageFilter.GaussianBlur(2)).save(root / "truth" / f"{index}.png")
    return root / "truth"


def differences(root, truths, folder):
    """Root mean square difference of draw 0 and the truth, in levels."""
    made, true = pixels(root / folder), pixels(truths)
    pairs = [(made[f"{name}/000.png"], true[f"{name}.png"]) for name in (0, 1)]
    return np.mean(
        [np.std(np.subtract(*(np.frombuffer(side, np.uint8).astype(float) for side in pair))) for pair in pairs]
    )


def test_a_truth_goes_to_noise_and_back(root, bridge, truths):
    """Draw 0 is the truth, the nearer the more steps; the calls of both ways are counted, and told."""
    errors, given = [], {"sampler": "dbim", "grid": "log-snr", "encode": truths, "batch_size": 3}
    for steps in (4, 12, 36):
        events = draw(root, bridge, f"{steps}", steps=steps, number=2, **given)
        errors.append(differences(root, truths, f"{steps}"))
        records = {str(event.output.relative_to(root)): event.record for event in kinds(events, Written)}
        assert [records[f"{steps}/0/00{number}.png"]["nfe"] for number in (0, 1)] == [2 * (steps + 1), steps + 1]
        starts = [event.nfe for event in kinds(events, BatchStarted)]
        assert len(kinds(events, Evaluated)) == sum(starts) and starts[0] == 2 * (steps + 1)
    assert errors[0] > 1.7 * errors[1] > 2.9 * errors[2] and errors[2] < 12, errors
    draw(root, bridge, "plain", steps=4, number=2, sampler="dbim", grid="log-snr")
    assert close({"1": pixels(root / "4")["0/001.png"]}, {"1": pixels(root / "plain")["0/001.png"]})
    again = kinds(draw(root, bridge, "4", steps=4, number=2, **given), Kept)
    assert len(again) == 4 and not any(event.differs for event in again)
    (root / "bridge.safetensors").write_bytes(Path(bridge).read_bytes())
    assert f"--encode {truths / '0.png'}" in recreate.recreate(root / "4" / "0" / "000.png", search=[root]).command
    (truths / "0.png").write_bytes((truths / "1.png").read_bytes())
    again = kinds(draw(root, bridge, "4", steps=4, number=2, **given), Kept)
    assert [event.differs for event in again] == ["another truth file", "", "", ""]


def test_a_way_leads_from_the_truth_to_a_draw(root, bridge, truths):
    draw(root, bridge, sampler="dbim", steps=16, number=2, interpolate=4, encode=truths)
    made = {name: np.frombuffer(body, np.uint8).astype(float) for name, body in pixels(root / "out").items()}
    true = np.frombuffer(pixels(truths)["0.png"], np.uint8).astype(float)
    far = [np.abs(made[f"0/{name}.png"] - true).mean() for name in ("000", "000_1", "000_3", "001")]
    assert far[0] < far[1] < far[2]


def test_a_draw_has_the_command_that_recreates_it(root, bridge):
    draw(root, bridge, number=2, interpolate=1)
    (root / "bridge.safetensors").write_bytes(Path(bridge).read_bytes())
    source = str(root / "in" / "1.png")
    words = recreate.recreate(root / "out" / "1" / "001.png", search=[root]).command.split()
    assert words[:7] == ["ddbm", "sample", source, "--start", "1", "-n", "1"] and "--interpolate" not in words
    words = recreate.recreate(root / "out" / "1" / "000_1.png", search=[root]).command.split()
    assert words[:7] == ["ddbm", "sample", source, "--start", "0", "-n", "2"]
    assert words[words.index("--interpolate") + 1] == "1"


def test_maps_sheet_and_archive_show_the_draws(root, bridge):
    draw(root, bridge, spread=True, sheet=root / "sheet.png", npz=root / "all.npz")
    stack = np.stack([np.asarray(open_picture(root / "out" / "0" / f"{n:03d}.png"), float) for n in range(3)])
    wanted = (stack.std(0) / 127.5).mean(-1) / WHITE * 255
    found = np.asarray(Image.open(root / "out" / "0-spread.png").convert("L"), float)
    assert found.max() > 0 and np.abs(found - wanted.clip(0, 255)).max() <= 1.5
    assert Image.open(root / "sheet.png").size == (5 * 18 + 4, 2 * 18 + 2)  # source, three draws, map
    assert np.load(root / "all.npz")["arr_0"].shape == (6, 16, 16, 3)


def test_equal_draws_have_a_black_map():
    assert torch.equal(spread_map(torch.full((4, 3, 2, 2), 0.3)), torch.full((3, 2, 2), -1.0))


def test_a_broken_source_is_skipped_and_reported(root, bridge):
    (root / "in" / "0.png").write_bytes(b"no picture")
    events = draw(root, bridge, spread=True, sheet=root / "sheet.png")
    assert len(kinds(events, Failed)) == 3 and len(kinds(events, Written)) == 3
    assert (root / "out" / "1-spread.png").exists() and (root / "sheet.png").exists()


def test_sub_folders_are_mirrored(root, bridge):
    (root / "in" / "more").mkdir()
    picture(5).save(root / "in" / "more" / "5.png")
    draw(root, bridge, number=1, recursive=True)
    assert (root / "out" / "more" / "5" / "000.png").exists()


def test_what_cannot_be_done_is_explained(root, bridge, tmp_path):
    prior = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    for options, words in [
        ({"model": prior}, "is a prior"),
        ({"sampler": "ode"}, "draws no noise"),
        ({"interpolate": 2, "number": 1}, "at least two draws"),
        ({"output": root / "a.png"}, "need a folder"),
        ({"source": "-"}, "need a folder"),
        ({"source": None, "spread": True}, "--spread needs source"),
        ({"source": None, "interpolate": 1}, "--interpolate needs source"),
        ({"source": None, "fit": "crop"}, "--fit needs source"),
        ({"interpolate": -1}, "--interpolate"),
        ({"source": None, "encode": root}, "--encode needs source"),
        ({"encode": root / "none"}, "for the truth"),
        ({"encode": root / "in", "sampler": "sde"}, "not determined by its first noise"),
    ]:
        with pytest.raises(UsageError, match=words):
            draw(root, bridge, **options)
    picture(0, 24).crop((0, 0, 24, 12)).save(root / "in" / "2.png")
    with pytest.raises(UsageError, match="of one size"):
        draw(root, bridge, npz=root / "all.npz")
