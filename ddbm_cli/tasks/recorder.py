"""Keeping the trajectories of images while they are sampled."""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddbm_cli.imaging.files import Job
from ddbm_cli.samplers import Evaluation

MOST = 60
"""Evaluations of a trajectory that are kept, at most, evenly spaced."""


class Frame(NamedTuple):
    """One network evaluation: its number, its state x_t and its estimate of x_0, uint8 (3, H, W)."""

    number: int
    state: Tensor
    estimate: Tensor


Frames = Sequence[Sequence[Frame]]
"""The trajectories of one image: of each of its objects."""


def spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 1..count, evenly spaced, with the first and the last."""
    shown = min(count, most)
    return sorted({1 + round(index * (count - 1) / max(shown - 1, 1)) for index in range(shown)})


class Recorder:
    """Keeps the trajectories of the images of a batch.

    Args:
        nfe: network evaluations of one image.
        decode: from states (B, C, h, w) to images (B, 3, H, W) in -1..1.
    """

    def __init__(self, nfe: int, decode: Callable[[Tensor], Tensor]) -> None:
        self._wanted = frozenset(spaced(nfe, MOST))
        self._decode = decode
        self._kept: dict[Job, list[list[Frame]]] = {}

    def follow(
        self, jobs: Sequence[Job], calls: Generator[Evaluation, None, Tensor], *, first: bool = True
    ) -> Generator[Evaluation, None, Tensor]:
        """Pass on the evaluations of a batch; row i of their states belongs to job i.

        Args:
            first: the first object of each image; earlier trajectories of the jobs are dropped.
        """
        for job in jobs:
            self._kept[job] = [*(() if first else self._kept[job]), []]
        try:
            for number in range(1, 2**31):
                call = next(calls)
                if number in self._wanted:
                    states, estimates = (self._pixels(each) for each in (call.x, call.x0))
                    for job, state, estimate in zip(jobs, states, estimates, strict=True):
                        self._kept[job][-1].append(Frame(number - 1, state, estimate))
                yield call
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        raise AssertionError("unreachable")

    def take(self, job: Job) -> Frames:
        """Return the trajectories of an image, and forget them."""
        return self._kept.pop(job)

    def _pixels(self, states: Tensor) -> Tensor:
        with torch.no_grad():
            images = self._decode(states.float()).float().cpu()
        return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
