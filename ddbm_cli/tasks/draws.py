"""Many draws of each source: what a bridge holds for possible, and how much it knows.

Draw 0 is the picture that `translate` makes; or, where truths are given, the truth itself, encoded and decoded again.
Pictures between two draws come of noise on the arc between theirs.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.files import STANDARD, Job, Jobs, plan_jobs
from ddbm_cli.imaging.guides import Companions
from ddbm_cli.imaging.io import encode_picture, format_of, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Preprocess, to_tensor
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Booted, Evaluation, Noise, NoiseSource, Plan, Slerp, encode
from ddbm_cli.tasks.request import TranslateRequest
from ddbm_cli.tasks.work import Loaded, Tally, Work, stream_name

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


@dataclass(frozen=True)
class _Known(Loaded):
    """A source that has been read, and the truth that belongs to it."""

    truth: Tensor | None = None


class ManyDraws(Work):
    """Work whose jobs are draws.

    Args:
        request, model, plan, tally: as of `Work`.
        truths: true pictures; then draw 0 is made from the noise that its truth is encoded in.

    Raises:
        UsageError: truths, and a plan in which a picture depends on more than the noise it begins with.
    """

    def __init__(
        self, request: TranslateRequest, model: TranslationModel, plan: Plan, tally: Tally, truths: Companions | None
    ) -> None:
        super().__init__(request, model, plan, tally, b"", None)
        self._truths = truths
        if truths and not (isinstance(plan.start, Booted) and plan.draws == 1):
            raise UsageError(
                f"sampler '{spell(plan.sampler)}' cannot make a picture again from its noise alone",
                hint="give --sampler dbim:eta=0, or dbim-3, with --encode",
            )
        pixel = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        self._encoding = len(list(encode(lambda x, t, source: x, plan.path, pixel, pixel, plan.times))) if truths else 0

    def _load(self, job: Job) -> Loaded:
        loaded = super()._load(job)
        if not self._truths:
            return loaded
        truth = self._truths.square(job.name, self.preprocess, loaded.placement)
        return _Known(job, loaded.tensor, loaded.placement, loaded.digest, truth=to_tensor(truth))

    def _nfe_of(self, batch: list[Loaded]) -> int:
        return self.plan.nfe + (self._encoding if any(_draw(loaded.job).draw == 0 for loaded in batch) else 0)

    def _calls(self, batch: list[Loaded]) -> Generator[Evaluation, None, Tensor]:
        source, draws = torch.stack([loaded.tensor for loaded in batch]), [_draw(loaded.job) for loaded in batch]
        names, numbers = [stream_name(job) for job in draws], [job.draw for job in draws]
        model = self.told(batch)
        first: Noise = NoiseSource(self.request.seed, names, numbers)
        known = [place for place, number in enumerate(numbers) if number == 0 and self._truths]
        if known:
            truths = [loaded.truth for loaded in batch if isinstance(loaded, _Known) and loaded.truth is not None]
            latents = yield from model.encode(torch.stack(truths)[known], source[known], self.plan)
            first = _replaced(first, known, latents)
        if any(job.step for job in draws):
            second = NoiseSource(self.request.seed, names, [number + 1 for number in numbers])
            first = Slerp(first, second, [job.step / job.steps for job in draws])
        return (yield from model.translate(source, first, self.plan))

    def _own(self, job: Job) -> dict[str, Any]:
        draw = _draw(job)
        truths = self._truths if draw.draw == 0 else None
        return super()._own(job) | {
            "draw": draw.draw,
            "between": [draw.step, draw.steps] if draw.step else None,
            "truth_sha256": truths.digest(job.name) if truths else None,
            "nfe": self.plan.nfe + (self._encoding if truths else 0),
        }


def _draw(job: Job) -> Draw:
    assert isinstance(job, Draw)
    return job


def _replaced(noise: Noise, places: list[int], latents: Tensor) -> Noise:
    """Return the noise with that of some pictures of the batch given."""

    def draw(like: Tensor) -> Tensor:
        drawn = noise(like)
        drawn[places] = latents.to(drawn)
        return drawn

    return draw


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
