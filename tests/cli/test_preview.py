"""Images in the terminal, and the live table of a training."""

import re

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.imaging.sheet import contact_sheet, cut_sheet, part_of_sheet
from tests.cli.shells import on_a_terminal
from tests.tiny import picture

BLOCK = "▀".encode()
COLOURS = {"COLORTERM": "truecolor", "TERM": "xterm-256color"}


@pytest.fixture
def sheet(tmp_path):
    """Return a sheet of five groups of three images of 16x16, two groups in a row."""
    sides = [torch.stack([to_tensor(picture(3 * index + side)) for index in range(5)]) for side in range(3)]
    file = tmp_path / "sheet.png"
    contact_sheet(sides, columns=2).save(file)
    return file


def test_a_sheet_is_cut_into_the_images_it_was_made_of(sheet):
    groups = cut_sheet(open_picture(sheet), group=3, width=16, height=16)
    assert [len(group) for group in groups] == [3] * 5  # and not six: the last place is empty
    for index, group in enumerate(groups):
        assert [image.tobytes() for image in group] == [picture(3 * index + side).tobytes() for side in range(3)]


def test_a_part_of_a_sheet_has_its_first_groups(sheet):
    part = open_picture(part_of_sheet(sheet, group=3, width=16, height=16, across=1, down=2))
    groups = cut_sheet(part, group=3, width=16, height=16)
    assert part.size == (58, 38) and len(groups) == 2
    assert groups[1][2].tobytes() == picture(5).tobytes()


EVENTS = """
from pathlib import Path
from ddbm_cli.cli import console, terminal
from ddbm_cli.foundation.events import *
terminal.prepare()
console.render([
    Planned(total=9, unit="steps"),
    Stepped(step=1, total=9, loss=0.125, rate=5e-4, seconds=1.0, gradient_norm=0.5),
    Validated(step=1, scores={{"loss": 0.25}}, best=True),
    Sampled(step=1, path=Path({sheet!r}), group=3, width=16, height=16),
    Stepped(step=9, total=9, loss=0.125, rate=5e-4, seconds=2.0, gradient_norm=0.5),
    Trained(output=Path("m"), run=Path("r"), step=9, total=9)], preview={preview}, quiet={quiet})
"""


def shown(sheet, *, preview=True, quiet=False, columns=80, environment=COLOURS):
    script = EVENTS.format(sheet=str(sheet), preview=preview, quiet=quiet)
    code, _, screen = on_a_terminal([], script=script, columns=columns, environment=environment, only_stderr=True)
    assert code == 0 and b"Traceback" not in screen, screen
    return screen


def test_preview_draws_the_newest_samples_as_half_blocks(sheet):
    screen = shown(sheet)
    lines = [line.count(BLOCK) for line in screen.split(b"\n") if BLOCK in line]
    assert max(lines) <= 80 and len(lines) >= 8


def test_preview_says_why_it_shows_nothing(sheet):
    screen = shown(sheet, environment={"NO_COLOR": "1"})
    assert BLOCK not in screen and b"--preview shows nothing: the terminal shows no colours" in screen


def test_a_training_has_a_live_table(sheet):
    screen = shown(sheet, preview=False)
    assert BLOCK not in screen
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", screen)
    for words in (b"gradient norm", b"learning rate", b"0.125", b"0.0005", b"0.25 at 1", b"9/9"):
        assert words in text, words
    assert max(len(line.decode().rstrip()) for line in re.split(rb"[\r\n]+", text)) <= 80


def test_preview_without_the_library_is_refused(monkeypatch):
    from ddbm_cli.cli import preview

    monkeypatch.setattr(preview, "LIBRARY", "no_such_library")
    with pytest.raises(UsageError, match="--preview needs textual-image"):
        preview.check()
