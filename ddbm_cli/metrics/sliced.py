"""A distance of two sets of images that needs no network: sliced Wasserstein on patches, at three scales.

Each image gives patches of 8x8 pixels: of its fine details, of those half as fine, and itself made as small as that.
The patches of a set are points; along a random direction two sets of points have a Wasserstein distance, which is the
difference of their sorted projections. The figure is the root mean square over directions, in units of the targets' own
spread, averaged over the scales: 0 for equal sets, and not much for two halves of one large set.

After Rabin et al. 2011, and Karras et al. 2018 for the scales; unlike theirs, it includes colours and the whole image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.metrics.base import Figure, SetMetric, Side, signed
from ddbm_cli.metrics.sample import Sample

SIDE = 8
PATCHES = 16
"""Patches of an image, of each of the two finer scales."""

DIRECTIONS = 64
QUANTILES = 1024
MOST_PICTURES = 4096
"""Largest number of images of a set, evenly spread over all: this bounds memory."""

PLASTIC = 0.7548776662466927, 0.5698402909980532
"""Multiples of these, modulo 1, spread evenly over a square."""


class SlicedWasserstein(SetMetric):
    """Sliced Wasserstein distance on patches."""

    name = "swd"
    label = "Sliced Wasserstein"
    recipe = (
        f"patches of {SIDE}x{SIDE} at 3 scales, {DIRECTIONS} directions, relative to the targets' spread; "
        "own measure, no FID; depends on N"
    )

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        # Not the user's seed: figures of two runs are to be compared.
        random = torch.Generator().manual_seed(0)
        directions = torch.randn(3 * SIDE**2, DIRECTIONS, generator=random)
        self._directions = (directions / directions.norm(dim=0)).to(device)
        self._points: dict[Side, Sample] = {"outputs": Sample(MOST_PICTURES), "targets": Sample(MOST_PICTURES)}

    def add(self, side: Side, index: Tensor, images: Tensor) -> None:
        """Add images to a set. Images of less than 16 pixels have no patches, and are left out."""
        if min(images.shape[-2:]) < 2 * SIDE:
            return
        patches = _patches(signed(images), index.to(self.device))
        self._points[side].add(index, *(part @ self._directions for part in patches))

    def figures(self) -> list[Figure]:
        outputs, targets = self._points.values()
        count, value = len(outputs), None
        if min(count, len(targets)) > 1:
            scales = [_distance(*pair) for pair in zip(outputs.parts, targets.parts, strict=True)]
            value = sum(scales) / len(scales)
        figure = Figure(
            name=self.name,
            label=self.label,
            value=value,
            count=count,
            higher_is_better=self.higher_is_better,
            recipe=self.recipe,
        )
        return [figure]


def _patches(images: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the patches of (N, 3, H, W), fine, half as fine, and whole: (N, P, 192), P = 16, 16, 1."""
    half, quarter = F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)
    fine = images - F.interpolate(half, images.shape[-2:], mode="bilinear")
    middle = half - F.interpolate(quarter, half.shape[-2:], mode="bilinear")
    whole = F.adaptive_avg_pool2d(images, SIDE).permute(0, 2, 3, 1).flatten(1)
    return _cut(fine, index), _cut(middle, index), whole[:, None]


def _cut(images: Tensor, index: Tensor) -> Tensor:
    """Return 16 patches of each image (N, 16, 192), at places that depend on the image's index alone."""
    count, _, height, width = images.shape
    number = (index[:, None] * PATCHES + torch.arange(PATCHES, device=index.device)).double()
    corners = [
        ((number * step) % 1 * (side - SIDE + 1)).long() for step, side in zip(PLASTIC, (height, width), strict=True)
    ]
    offset = torch.arange(SIDE, device=index.device)
    rows = corners[0][:, :, None, None] + offset[:, None]
    columns = corners[1][:, :, None, None] + offset
    place = torch.arange(count, device=index.device)[:, None, None, None]
    return images.permute(0, 2, 3, 1)[place, rows, columns].flatten(2)


def _distance(outputs: Tensor, targets: Tensor) -> float:
    """Return the distance of two sets of projections (N, P, D), relative to the second's spread."""
    first, second = (_quantiles(points.flatten(0, 1)) for points in (outputs, targets))
    spread = targets.flatten(0, 1).std(dim=0).square().mean().sqrt()
    return float(((first - second).square().mean().sqrt() / spread.clamp(min=1e-6)).item())


def _quantiles(points: Tensor) -> Tensor:
    """Return evenly spaced quantiles (Q, D) of points (N, D)."""
    ranks = (torch.arange(QUANTILES, device=points.device) + 0.5) / QUANTILES * len(points)
    return points.sort(dim=0).values[ranks.long()]
