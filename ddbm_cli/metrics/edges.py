"""Whether outputs keep to their sketches: the edges of the output against the lines of the sketch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddbm_cli.imaging.preprocess import to_picture
from ddbm_cli.imaging.sketch import draw, on_white
from ddbm_cli.metrics.base import Batch, PictureMetric, signed

INK = 200
"""A pixel is of a line where any channel is darker than this, of 255."""


class EdgeF1(PictureMetric):
    """Agreement of the output's edges with the sketch's lines."""

    name = "edge-f1"
    label = "Edge F1"
    higher_is_better = True
    needs = ("sketches",)
    recipe = "edges of the output, as `ddbm data edges` draws them, against the sketch's lines; off by 1/64 of the side"
    unmeasured = "whose sketch and output have no line"

    def __call__(self, batch: Batch) -> Tensor:
        assert batch.sketches is not None
        pairs = zip(batch.outputs, batch.sketches, strict=True)
        return torch.tensor([_f1(output, sketch) for output, sketch in pairs])


def _f1(output: Tensor, sketch: Tensor) -> float:
    size = max(output.shape[-2:])
    drawn = draw(to_picture(signed(output)), size=size, style="ink", rng=np.random.default_rng(0))
    found, wanted = (
        np.asarray(image).min(axis=2) < INK for image in (drawn, on_white(to_picture(signed(sketch)), size))
    )
    if not found.any() and not wanted.any():
        return float("nan")
    reach = max(1, round(size / 64))
    precision = (found & _near(wanted, reach)).sum() / max(1, found.sum())
    recall = (wanted & _near(found, reach)).sum() / max(1, wanted.sum())
    return float(2 * precision * recall / max(1e-12, precision + recall))


def _near(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return the pixels within `reach` pixels of a mask (H, W), in each direction."""
    padded = np.pad(mask, reach)
    height, width = mask.shape
    places = range(2 * reach + 1)
    near: NDArray[np.bool_] = np.any([padded[y : y + height, x : x + width] for y in places for x in places], axis=0)
    return near
