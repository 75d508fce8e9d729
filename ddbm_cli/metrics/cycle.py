"""Translation without pairs: how far outputs are from their sources, and how much of the sources they keep.

Closeness to the other set is measured by the metrics of sets (FID, sliced Wasserstein). Both belong together: outputs
that equal their sources have a distance of 0 and are far from the other set.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.preprocess import Preprocess, to_picture, to_tensor
from ddbm_cli.metrics.base import Batch, PictureMetric, signed
from ddbm_cli.samplers import Noise, NoiseSource


class SourceDistance(PictureMetric):
    """Mean squared distance of the output to its source."""

    name = "source-mse"
    label = "MSE to the source"
    needs = ("sketches",)
    on_request = True
    recipe = "mean over pixels and channels, range -1..1; the source is resized to the output's size"

    def __call__(self, batch: Batch) -> Tensor:
        return (signed(batch.outputs) - _sources(batch, batch.outputs.shape[-2:])).square().mean((1, 2, 3))


class CycleError(PictureMetric):
    """Mean squared distance to the source of what the output becomes when it is translated back.

    Args:
        device, seed: of the metric.
        translate: translates images (N, 3, H, W) back, float32 in -1..1, with a source of noise.
        preprocess: brings images to the model's size.
        words: how they are sampled.
    """

    name = "cycle-mse"
    label = "Cycle MSE"
    needs = ("sketches", "cycle")
    recipe = "the output translated back, against the source, at the model's size"

    def __init__(
        self,
        device: torch.device,
        *,
        seed: int = 0,
        translate: Callable[[Tensor, Noise], Tensor],
        preprocess: Preprocess,
        words: str = "",
    ) -> None:
        super().__init__(device, seed=seed)
        self._translate, self._preprocess = translate, preprocess
        self.recipe = f"{self.recipe}, {preprocess.words}; {words}"

    def __call__(self, batch: Batch) -> Tensor:
        placed = [self._preprocess.forward(to_picture(each)) for each in signed(batch.outputs)]
        images = [image for image, _ in placed]
        noise = NoiseSource(self.seed, [sha256(each.numpy().tobytes()) for each in images])
        results = self._translate(torch.stack(images), noise)
        pictures = [self._preprocess.inverse(each, place) for each, (_, place) in zip(results, placed, strict=True)]
        back = torch.stack([to_tensor(each) for each in pictures]).to(batch.outputs.device)
        return (back - _sources(batch, back.shape[-2:])).square().mean((1, 2, 3))


def _sources(batch: Batch, size: torch.Size) -> Tensor:
    """Return the sources in -1..1, in the size (H, W) of images that are compared with them."""
    assert batch.sketches is not None
    sources = signed(batch.sketches)
    if sources.shape[-2:] == size:
        return sources
    return F.interpolate(sources, size=tuple(size), mode="bilinear", antialias=True)
