"""How much the draws of one source differ; zero for a bridge that always returns the same image."""

from torch import Tensor

from ddbm_cli.metrics.base import Batch, PictureMetric, signed


class PixelDiversity(PictureMetric):
    """Root mean square difference of two draws of a source."""

    name = "diversity"
    label = "Pixel diversity"
    higher_is_better = True
    needs = ("draws",)
    recipe = "root mean square difference of two draws, range -1..1, mean over all pairs of a source's draws"

    def __call__(self, batch: Batch) -> Tensor:
        assert batch.draws is not None
        scale: float = batch.outputs[0].numel() ** 0.5
        return pairwise(signed(batch.draws).flatten(2)) / scale


def pairwise(points: Tensor) -> Tensor:
    """Return the mean Euclidean distance (N,) of all pairs of points (N, L, D), L >= 2."""
    draws = points.shape[1]
    pairs = [(one, other) for one in range(draws) for other in range(one)]
    distances = sum((points[:, one] - points[:, other]).norm(dim=1) for one, other in pairs)
    assert isinstance(distances, Tensor)
    return distances / len(pairs)
