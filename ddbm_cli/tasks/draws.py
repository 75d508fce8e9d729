"""Several draws of each source, which show the variety of a bridge's results.

Draw 0 is the image that `translate` makes; or, where ground truths are given, the truth, encoded and decoded again.
Images between two draws start from noise on the arc between theirs.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.files import STANDARD, Job, Jobs, plan_jobs
from ddbm_cli.imaging.guides import Companions
from ddbm_cli.imaging.io import format_of
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.methods import Method
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Booted, Evaluation, Noise, NoiseSource, Plan, Slerp, encode
from ddbm_cli.tasks.making import Loaded, Maker, Results
from ddbm_cli.tasks.overview import SPREAD
from ddbm_cli.tasks.request import TranslateRequest


@dataclass(frozen=True)
class Draw(Job):
    """One image of a source: draw number `draw`, or step `step` of `steps` of the interpolation to the next draw."""

    step: int = 0
    steps: int = 1


def draw_jobs(
    source: str, output: Path, *, number: int, first: int = 0, between: int = 0, recursive: bool = False
) -> list[list[Draw]]:
    """Return what to make, a list for each source: OUTPUT/NAME/000.png, and 000_1.png ... between it and 001.png.

    Args:
        number: draws of each source, from number `first` on. between: images between two draws.

    Raises:
        UsageError: nothing to do, or the output is not a folder.
    """
    if STANDARD in (source, str(output)) or format_of(output) or output.is_file():
        raise UsageError(f"{output}: draws of a source need a folder", hint="pass a folder as the output")
    sources = plan_jobs(source, output, recursive=recursive, format="png").jobs
    # The folder's name keeps what separates sources of one stem: a.png becomes a/, and a.jpg next to it a.jpg/.
    draws = range(first, first + number)
    return [_draws(job, job.output.with_suffix(""), draws, between) for job in sources]


def _draws(job: Job, folder: Path, draws: range, between: int) -> list[Draw]:
    digits = len(str(between))
    made = []
    for draw in draws:
        made.append(Draw(job.name, job.source, folder / f"{draw:03d}.png", draw))
        for step in range(1, between + 1 if draw != draws[-1] else 1):
            file = folder / f"{draw:03d}_{step:0{digits}d}.png"
            made.append(Draw(job.name, job.source, file, draw, step, between + 1))
    return made


@dataclass(frozen=True, kw_only=True)
class LoadedPair(Loaded):
    """A source that is ready for the network, and its ground truth, float32 (3, H, W) in -1..1."""

    truth: Tensor


class DrawMaker(Maker):
    """Makes draws of sources; the jobs are of the class `Draw`.

    Args:
        request, method, model, plan: as of `Maker`.
        truths: ground truths; draw 0 is then made from the noise that its truth is encoded as.

    Raises:
        UsageError: truths, and a plan in which an image depends on more than the noise it starts from.
    """

    def __init__(
        self, request: TranslateRequest, method: Method, model: TranslationModel, plan: Plan, truths: Companions | None
    ) -> None:
        super().__init__(request, method, model, plan)
        self._truths = truths
        if truths and not (isinstance(plan.start, Booted) and plan.draws == 1):
            raise UsageError(
                f"sampler '{spell(plan.sampler)}' is not determined by its first noise, which --encode needs",
                hint="pass --sampler dbim:eta=0 or dbim-3 with --encode",
            )
        if truths and request.follows:
            raise UsageError("--gif, --strip and --steps-dir do not go with --encode", hint="leave out one of them")
        pixel = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        self._encoding = len(list(encode(lambda x, t, source: x, plan.path, pixel, pixel, plan.times))) if truths else 0

    def prepare(self, job: Job, image: Picture, digest: str, original: Callable[[], Picture]) -> Loaded:
        loaded = super().prepare(job, image, digest, original)
        if not self._truths:
            return loaded
        truth = to_tensor(self._truths.square(job.name, self.preprocess, loaded.placement))
        return LoadedPair(
            job, loaded.tensor, loaded.placement, digest, original=original, origin=loaded.origin, truth=truth
        )

    def nfe(self, batch: Sequence[Loaded]) -> int:
        return self.plan.nfe + (self._encoding if any(_draw(loaded.job).draw == 0 for loaded in batch) else 0)

    def run(self, batch: Sequence[Loaded]) -> Generator[Evaluation, None, Results]:
        source, draws = torch.stack([loaded.tensor for loaded in batch]), [_draw(loaded.job) for loaded in batch]
        names, numbers = [self.noise_name(job) for job in draws], [job.draw for job in draws]
        model = self.conditioned(batch)
        noise: Noise = NoiseSource(self.request.seed, names, numbers)
        encoded = [row for row, number in enumerate(numbers) if number == 0 and self._truths]
        if encoded:
            truths = [loaded.truth for loaded in batch if isinstance(loaded, LoadedPair)]
            latents = yield from model.encode(torch.stack(truths)[encoded], source[encoded], self.plan)
            noise = _replaced(noise, encoded, latents)
        if any(job.step for job in draws):
            second = NoiseSource(self.request.seed, names, [number + 1 for number in numbers])
            noise = Slerp(noise, second, [job.step / job.steps for job in draws])
        return [*(yield from self.recorded(draws, self.method.run(model, source, noise, self.plan)))]

    def own(self, job: Job) -> dict[str, Any]:
        draw = _draw(job)
        truths = self._truths if draw.draw == 0 else None
        return super().own(job) | {
            "draw": draw.draw,
            "noise_draw": None,
            "between": [draw.step, draw.steps] if draw.step else None,
            **(truths.describe(job.name, "truth") if truths else {"truth_sha256": None}),
            "nfe": self.plan.nfe + (self._encoding if truths else 0),
        }


def _draw(job: Job) -> Draw:
    assert isinstance(job, Draw)
    return job


def _replaced(noise: Noise, places: list[int], latents: Tensor) -> Noise:
    """Return the noise of a batch, with `latents` in the rows `places` of its first draw."""

    def draw(like: Tensor) -> Tensor:
        drawn = noise(like)
        drawn[places] = latents.to(drawn)
        return drawn

    return draw


def spread_file(folder: Path) -> Path:
    """Return the file of the map of the draws in a folder."""
    return folder.with_name(f"{folder.name}{SPREAD}")


def is_between(job: Job) -> bool:
    """Return whether an image lies between two draws."""
    return isinstance(job, Draw) and job.step > 0


def flat(groups: Sequence[Sequence[Draw]], folder: Path) -> Jobs:
    """Return the jobs of all groups."""
    every: Iterator[Job] = (job for group in groups for job in group)
    return Jobs(list(every), folder)
