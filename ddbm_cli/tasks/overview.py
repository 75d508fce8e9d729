"""Files that show the results of a run together: maps of how draws differ, and contact sheets."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Preprocess, to_picture, to_pixels
from ddbm_cli.imaging.sheet import Picture, contact_sheet
from ddbm_cli.tasks.trajectory import Beside, mark

WHITE = 0.5
"""Standard deviation of values in -1..1 that is white in a map: 64 levels of 255."""

SHEET_SOURCES = 50
SHEET_DRAWS = 16
SHEET_COLUMNS = 8
"""Sources of a sheet, draws of each, and images across, at most."""

SPREAD = "-spread.png"


def by_source(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the jobs of each source."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.name, []).append(job)
    return list(groups.values())


def maps_of(groups: Sequence[Sequence[Job]], outputs: Sequence[Path]) -> list[Path]:
    """Return the file of the map of each source: NAME-spread.png next to its draws.

    Sources that would get the same name have it from their first draws.
    """
    named = [group[0].output.with_name(f"{Path(group[0].name).stem}.png") for group in groups]
    counts, beside = Counter(str(file).casefold() for file in named), Beside(outputs)
    return [
        beside(file if counts[str(file).casefold()] == 1 else group[0].output, SPREAD)
        for file, group in zip(named, groups, strict=True)
    ]


def gather(
    groups: Sequence[Sequence[Job]],
    preprocess: Preprocess,
    *,
    maps: Sequence[Path] = (),
    sheet: Path | None = None,
    between: Callable[[Job], bool] = lambda job: False,
) -> None:
    """Write a map of the spread of each source's draws, and one sheet, in which a row is source, draws, map.

    The brightness of a pixel in a map is the standard deviation of the draws there, averaged over the three channels.

    Args:
        groups: the draws of each source. maps: a file for each, none for no maps.
        between: whether a job is no draw, but lies between two.
    """
    preprocess = preprocess.on_sheets
    rows = []
    for number, group in enumerate(groups):
        there = [job for job in group if job.output.exists()]
        if not there:
            continue
        try:
            source = preprocess.forward(open_picture(there[0].source))[0]
        except ImageError:
            continue  # it is gone
        pictures = [open_picture(job.output) for job in there]
        row = [source, *(preprocess.forward(picture)[0] for picture in pictures[:SHEET_DRAWS])]
        if maps:
            drawn = [picture for job, picture in zip(there, pictures, strict=True) if not between(job)]
            shown = spread_of(drawn)
            maps[number].parent.mkdir(parents=True, exist_ok=True)
            write_atomically(maps[number], encode_picture(shown, "png", text=mark("spread")))
            row.append(preprocess.forward(shown)[0])
        rows.append(row)
    most = max(map(len, rows), default=0)
    shown_rows = [row for row in rows if len(row) == most][:SHEET_SOURCES]
    if sheet and shown_rows:
        sides = [torch.stack(side) for side in zip(*shown_rows, strict=True)]
        write_sheet(sheet, contact_sheet(sides, columns=max(1, SHEET_COLUMNS // most) if most == 2 else 1))


def write_sheet(file: Path, sheet: Picture) -> None:
    """Write a contact sheet, marked as made by this program."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, encode_picture(sheet, "png", text=mark("sheet")))


def spread_of(draws: Sequence[Picture]) -> Picture:
    """Return the map of draws: images (RGB or RGBA) of one size; others than the first one's size are resized to it."""
    pixels = [to_pixels(draw, size=draws[0].size) for draw in draws]
    return to_picture(spread_map(torch.stack(pixels).float() / 127.5 - 1))


def spread_map(draws: Tensor) -> Tensor:
    """Return the standard deviation of draws (N, 3, H, W) at each pixel, as a grey image (3, H, W); see `WHITE`."""
    deviation = draws.std(dim=0, correction=0).mean(dim=0)
    return (2 * deviation / WHITE - 1).clamp(-1, 1).expand(3, -1, -1)
