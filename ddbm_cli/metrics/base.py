"""What every metric shares: its input batch, its figures, and what it needs.

A metric gets each batch once. It returns a value per image, from which mean and confidence interval follow, or it
accumulates what it needs and returns figures of the whole set at the end.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Figure as Figure

Need = Literal["targets", "sketches", "draws", "prior", "cycle"]
Side = Literal["outputs", "targets"]
EXTRA = 'pip install "ddbm-cli[eval]"'


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one size, uint8 (N, 3, H, W) on the metrics' device.

    index: (N,), the place of each image in the list of all. targets: what the outputs should be.
    sketches: the sources, of any size. draws: (N, L, 3, H, W), all outputs of each source, L >= 2.
    """

    index: Tensor
    outputs: Tensor
    targets: Tensor | None = None
    sketches: Tensor | None = None
    draws: Tensor | None = None

    @property
    def wanted(self) -> Tensor:
        """The targets, of a metric that needs them."""
        assert self.targets is not None
        return self.targets


class Metric:
    """A metric; made with the device to work on, and the seed of what is drawn.

    name: in options and records. label: in tables. needs: what it compares the outputs with. on_request: it is only
    computed where it is named, or for a cycle. recipe: how it is computed, in words.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    needs: ClassVar[tuple[Need, ...]] = ("targets",)
    on_request: ClassVar[bool] = False
    recipe: str

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        self.device = device
        self.seed = seed


class PictureMetric(Metric):
    """A metric that has a number for each image."""

    unmeasured: ClassVar[str] = ""

    def __call__(self, batch: Batch) -> Tensor:
        """Return the values (N,), NaN or infinite for an image that has none; `unmeasured` is the reason."""
        raise NotImplementedError


class SetMetric(Metric):
    """A metric of two sets of images, the outputs and the targets; the sets may differ in size."""

    def update(self, batch: Batch) -> None:
        """Add the outputs and the targets of a batch of pairs."""
        self.add("outputs", batch.index, batch.outputs)
        self.add("targets", batch.index, batch.wanted)

    def add(self, side: Side, index: Tensor, images: Tensor) -> None:
        """Add images, uint8 (N, 3, H, W), to one of the two sets; index (N,) is their place in the list of all."""
        raise NotImplementedError

    def figures(self) -> list[Figure]:
        """Return the figures of all images that were added."""
        raise NotImplementedError


def signed(pixels: Tensor) -> Tensor:
    """Return uint8 as float32 in -1..1."""
    return pixels.float().div_(127.5).sub_(1)


class MissingExtraError(UsageError):
    """A library of the extra `eval` is not installed."""


def need_libraries(names: Sequence[str], what: str) -> None:
    """Check that libraries of the extra `eval` are installed.

    Raises:
        MissingExtraError: one is not.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, RuntimeError) as error:  # torchvision of another build than torch raises the latter
            reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be used ({error})"
            raise MissingExtraError(f"{what}: {name} {reason}", hint=EXTRA) from None
