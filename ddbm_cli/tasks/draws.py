"""Many draws of each source: what a bridge holds for possible, and how much it knows.

Draw 0 is the picture that `translate` makes. Pictures between two draws come of noise on the arc between theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.errors import UsageError
from ddbm_cli.imaging.files import STANDARD, Job, Jobs, plan_jobs
from ddbm_cli.imaging.io import encode_picture, format_of, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.samplers import Between, Noise, NoiseSource
from ddbm_cli.tasks.translate import Work, stream_name

WHITE = 0.5
"""Standard deviation, of values in -1..1, that is white in a map: 64 levels of 255."""

SHEET_SOURCES = 50
SHEET_DRAWS = 16


@dataclass(frozen=True)
class Draw(Job):
    """One picture of a source: draw number `draw`, or `step` of `steps` on the way to the next draw."""

    draw: int
    step: int = 0
    steps: int = 1


def draw_jobs(source: str, output: Path, *, number: int, between: int = 0, recursive: bool = False) -> list[list[Draw]]:
    """Return what to make, a list for each source: OUTPUT/NAME/000.png, and 000_1.png ... between it and 001.png.

    Raises:
        UsageError: nothing to do, or the output is no folder.
    """
    if STANDARD in (source, str(output)) or format_of(output) or output.is_file():
        raise UsageError("several draws make several pictures of each", hint="name a folder for the output")
    sources = plan_jobs(source, output, recursive=recursive, format="png").jobs
    # A folder's name keeps what tells sources of one stem apart: a.png becomes a/, and a.jpg beside it a.jpg/.
    return [_draws(job, job.output.with_suffix(""), number, between) for job in sources]


def _draws(job: Job, folder: Path, number: int, between: int) -> list[Draw]:
    digits = len(str(between))
    made = []
    for draw in range(number):
        made.append(Draw(job.name, job.source, folder / f"{draw:03d}.png", draw))
        for step in range(1, between + 1 if draw + 1 < number else 1):
            file = folder / f"{draw:03d}_{step:0{digits}d}.png"
            made.append(Draw(job.name, job.source, file, draw, step, between + 1))
    return made


class ManyDraws(Work):
    """Work whose jobs are draws."""

    def _noise(self, jobs: Sequence[Job]) -> Noise:
        names, draws = [stream_name(job) for job in jobs], [job for job in jobs if isinstance(job, Draw)]
        first = NoiseSource(self.request.seed, names, [job.draw for job in draws])
        if not any(job.step for job in draws):
            return first
        second = NoiseSource(self.request.seed, names, [job.draw + 1 for job in draws])
        return Between(first, second, [job.step / job.steps for job in draws])

    def _own(self, job: Job) -> dict[str, Any]:
        assert isinstance(job, Draw)
        return {"draw": job.draw} | ({"between": [job.step, job.steps]} if job.step else {})


def gather(groups: Sequence[Sequence[Draw]], preprocess: Preprocess, *, spread: bool, sheet: Path | None) -> None:
    """Write a map OUTPUT/NAME-spread.png of each source's draws, and one sheet: a row is source, draws, map.

    In a map a pixel's brightness is the standard deviation of the draws there, the mean of the three colours'.
    """
    rows = []
    for group in groups:
        files = [job.output for job in group if job.output.exists()]
        if not files:
            continue
        placed = [preprocess.forward(open_picture(file)) for file in files]
        pictures = torch.stack([picture for picture, _ in placed])
        draws = pictures[[not job.step for job in group if job.output.exists()]]
        row = [preprocess.forward(open_picture(group[0].source))[0], *pictures[:SHEET_DRAWS]]
        if spread:
            deviation = spread_map(draws)
            folder = files[0].parent
            body = encode_picture(preprocess.inverse(deviation, placed[0][1]), "png")
            write_atomically(folder.with_name(f"{folder.name}-spread.png"), body)
            row.append(deviation)
        rows.append(row)
    shown = [row for row in rows if len(row) == len(rows[0])][:SHEET_SOURCES]
    if sheet and shown:
        sides = [torch.stack(side) for side in zip(*shown, strict=True)]
        sheet.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(sheet, encode_picture(contact_sheet(sides, columns=1), "png"))


def spread_map(draws: Tensor) -> Tensor:
    """Return how much draws (N, 3, H, W) differ at each pixel, as a grey picture (3, H, W) in -1..1; see `WHITE`."""
    deviation = draws.std(dim=0, correction=0).mean(dim=0)
    return (2 * deviation / WHITE - 1).clamp(-1, 1).expand(3, -1, -1)


def flat(groups: Sequence[Sequence[Draw]], folder: Path) -> Jobs:
    """Return the jobs of all groups."""
    every: Iterator[Job] = (job for group in groups for job in group)
    return Jobs(list(every), 0, folder)
