"""Metrics of an image and its target that need no network: errors of pixels, and similarity of structure."""

import torch
from torch import Tensor

from ddbm_cli.metrics.base import Batch, PictureMetric, need_libraries, signed

SSIM_MARGIN = 5
"""Pixels at the border where SSIM's window leaves the image: left out, as the definition does."""

MS_SSIM_LEAST = 176
"""Pixels of the shorter side that five scales need."""


class MSE(PictureMetric):
    """Mean squared error."""

    name = "mse"
    label = "MSE"
    recipe = "mean over pixels and channels, range -1..1"

    def __call__(self, batch: Batch) -> Tensor:
        return _squared_error(batch)


class L1(PictureMetric):
    """Mean absolute error."""

    name = "l1"
    label = "L1"
    recipe = "mean over pixels and channels, range -1..1"

    def __call__(self, batch: Batch) -> Tensor:
        return (signed(batch.outputs) - signed(batch.wanted)).abs().mean((1, 2, 3))


class PSNR(PictureMetric):
    """Peak signal-to-noise ratio."""

    name = "psnr"
    label = "PSNR (dB)"
    higher_is_better = True
    recipe = "of each image, peak 255, then the mean"
    unmeasured = "equal to their targets (infinite), left out"

    def __call__(self, batch: Batch) -> Tensor:
        return 10 * torch.log10(4 / _squared_error(batch))


class SSIM(PictureMetric):
    """Structural similarity."""

    name = "ssim"
    label = "SSIM"
    higher_is_better = True
    recipe = "torchmetrics; RGB, Gaussian window of 11 pixels, sigma 1.5, inner pixels"
    unmeasured = "smaller than the window of 11 pixels"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        need_libraries(["torchmetrics"], self.label)

    def __call__(self, batch: Batch) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure

        if min(batch.outputs.shape[-2:]) <= 2 * SSIM_MARGIN:
            return _nothing(batch)
        _, full = structural_similarity_index_measure(
            _exact(batch.outputs), _exact(batch.wanted), data_range=255.0, reduction="none", return_full_image=True
        )
        inner = slice(SSIM_MARGIN, -SSIM_MARGIN)
        values: Tensor = full[..., inner, inner].mean((1, 2, 3))
        return values


class MSSSIM(PictureMetric):
    """Structural similarity at five scales."""

    name = "ms-ssim"
    label = "MS-SSIM"
    higher_is_better = True
    recipe = "torchmetrics; RGB, five scales"
    unmeasured = f"smaller than the {MS_SSIM_LEAST} pixels that five scales need"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        need_libraries(["torchmetrics"], self.label)

    def __call__(self, batch: Batch) -> Tensor:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

        if min(batch.outputs.shape[-2:]) < MS_SSIM_LEAST:
            return _nothing(batch)
        values: Tensor = multiscale_structural_similarity_index_measure(
            _exact(batch.outputs), _exact(batch.wanted), data_range=255.0, reduction="none"
        )
        return values


def _squared_error(batch: Batch) -> Tensor:
    return (signed(batch.outputs) - signed(batch.wanted)).square().mean((1, 2, 3))


def _exact(pixels: Tensor) -> Tensor:
    """Return uint8 as float64: on white paper, variances in float32 have errors of 1e-4."""
    return pixels.float() if pixels.device.type == "mps" else pixels.double()


def _nothing(batch: Batch) -> Tensor:
    return torch.full((len(batch.outputs),), torch.nan)
