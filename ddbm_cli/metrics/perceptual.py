"""Metrics of an image and its target by the features of a network."""

import torch
from torch import Tensor

from ddbm_cli.metrics.base import Batch, PictureMetric, need_libraries, signed
from ddbm_cli.metrics.weights import ALEXNET, VGG16, published

LPIPS_LEAST = 32
"""Pixels of a side that AlexNet's layers need."""


class LPIPS(PictureMetric):
    """Learned perceptual similarity."""

    name = "lpips"
    label = "LPIPS"
    recipe = "torchmetrics; AlexNet, range -1..1, no resizing"
    unmeasured = f"smaller than the {LPIPS_LEAST} pixels that the network needs"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        need_libraries(["torchmetrics", "torchvision"], self.label)
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        with published(ALEXNET):
            self._network = LearnedPerceptualImagePatchSimilarity(net_type="alex").net.to(device)

    def __call__(self, batch: Batch) -> Tensor:
        if min(batch.outputs.shape[-2:]) < LPIPS_LEAST:
            return torch.full((len(batch.outputs),), torch.nan)
        with torch.inference_mode():
            values: Tensor = self._network(signed(batch.outputs), signed(batch.wanted)).flatten()
        return values


class DISTS(PictureMetric):
    """Similarity of structure and texture."""

    name = "dists"
    label = "DISTS"
    recipe = "torchmetrics; VGG-16, range 0..1, no resizing"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        need_libraries(["torchmetrics", "torchvision"], self.label)
        from torchmetrics.functional.image.dists import DISTSNetwork

        with published(VGG16):
            self._network = DISTSNetwork().to(device)

    def __call__(self, batch: Batch) -> Tensor:
        values: Tensor = self._network(batch.outputs.float() / 255, batch.wanted.float() / 255).reshape(-1)
        return values
