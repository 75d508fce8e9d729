"""Several values of one or two options: a folder for each combination, and one sheet."""

import json

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.options.sweep import read_axes
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import Written
from ddbm_cli.tasks.sweep import grid
from tests.tiny import picture, write_tiny

BOTH = {"condition_dropout": 0.1}


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(2):
        picture(index).save(tmp_path / "in" / f"{index}.png")
    model = write_tiny(tmp_path / "tiny.safetensors", **BOTH)
    given = {"source": str(tmp_path / "in"), "output": tmp_path / "out", "model": str(model), "device": "cpu"}
    return translate.request(**given, nfe=2)


def test_values_are_read_and_checked():
    assert read_axes(["image-guidance-scale=1,1.5,2", "guidance_scale=3,7.5,3"]) == {
        "image_guidance_scale": (1.0, 1.5, 2.0),
        "guidance_scale": (3.0, 7.5),
    }
    assert read_axes(["nfe=2,4 strength=0.5"]) == {"nfe": (2, 4), "strength": (0.5,)}
    assert read_axes([]) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampler=dbim"], "not one of image-guidance-scale"),
        (["nfe"], "--sweep nfe: not one of"),
        (["nfe="], "no values"),
        (["nfe=2", "nfe=4"], "given twice"),
        (["nfe=2", "seed=1", "strength=1"], "3 options are too many"),
        (["nfe=" + ",".join(map(str, range(1, 102)))], "101 combinations are too many"),
        (["strength=2"], "--strength"),
        (["guidance-scale=x"], "--guidance-scale"),
    ],
)
def test_wrong_sweeps_are_explained(words, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_axes(words)
    assert caught.value.hint


def test_a_grid_has_a_folder_for_each_combination_and_a_sheet(asked, tmp_path):
    axes = read_axes(["image-guidance-scale=1,2", "nfe=2,3"])
    events = list(grid(asked, axes))
    assert len([event for event in events if isinstance(event, Written)]) == 8
    folder = tmp_path / "out" / "image-guidance-scale-2-nfe-3"
    record = json.loads(read_text(folder / "0.png")["ddbm"])
    assert record["image_guidance_scale"] == 2 and record["nfe"] == 3
    sheet = open_picture(tmp_path / "out" / "sweep.png")
    columns, rows, side, gap = 4, 4, 128, 4
    assert sheet.width == columns * (side + gap) + gap and sheet.height > rows * (side + gap)
    shown = open_picture(folder / "1.png").convert("RGB").resize((128, 128), Image.Resampling.NEAREST)
    left, top = gap + 3 * (side + gap), sheet.height - side - gap
    assert sheet.crop((left, top, left + side, top + side)).convert("RGB").tobytes() == shown.tobytes()
    again = [event for event in grid(asked, axes) if isinstance(event, Written)]
    assert not again


def test_one_option_and_a_sheet_elsewhere(asked, tmp_path):
    from dataclasses import replace

    list(grid(replace(asked, sheet=tmp_path / "sheet.png"), read_axes(["seed=0,1"])))
    assert (tmp_path / "sheet.png").exists() and not (tmp_path / "out" / "sweep.png").exists()
    first, second = (open_picture(tmp_path / "out" / f"seed-{seed}" / "0.png").tobytes() for seed in (0, 1))
    assert first != second


def test_a_table_of_somebody_else_is_kept(asked, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.csv").write_text("mine,too\n")
    with pytest.raises(UsageError, match=r"sweep\.csv: exists and is not the table of a sweep"):
        list(grid(asked, read_axes(["nfe=2,3"])))


def test_from_the_shell(asked, tmp_path, ddbm):
    words = ["translate", asked.source, tmp_path / "out", "-m", asked.model, "-d", "cpu", "--nfe", "2"]
    code, _, err = ddbm(*words, "--sweep", "image-guidance-scale=1,2")
    assert code == 0 and (tmp_path / "out" / "sweep.png").exists(), err
    code, _, err = ddbm(*words[:2], "-m", asked.model, "--sweep", "nfe=2,3")
    assert code == 2 and "several values make several images" in err
    code, _, err = ddbm(*words, "--sweep", "nfe=2,3", "--strength", "0.2,0.4")
    assert code == 2 and "mutually exclusive" in err
