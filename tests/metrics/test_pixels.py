"""Errors of pixels, against arithmetic by hand and against scikit-image."""

import numpy as np
import pytest
import torch

from ddbm_cli.metrics import METRICS, Batch, interval, summarise
from ddbm_cli.metrics.pixels import L1, MSE, PSNR

CPU = torch.device("cpu")


def pictures(count=3, size=40, seed=0):
    """Smooth random pictures and a disturbed copy, uint8 (N, 3, H, W)."""
    random = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 6, generator=random)
    smooth = torch.nn.functional.interpolate(small, (size, size), mode="bilinear") * 255
    noisy = smooth + 20 * torch.randn(smooth.shape, generator=random)
    return noisy.clamp(0, 255).round().to(torch.uint8), smooth.round().to(torch.uint8)


def pair(outputs, targets):
    return Batch(index=torch.arange(len(outputs)), outputs=outputs, targets=targets)


def test_errors_by_hand():
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    half = black.clone()
    half[..., :2] = 255
    batch = pair(half, black)
    assert MSE(CPU)(batch).item() == pytest.approx(2.0)
    assert L1(CPU)(batch).item() == pytest.approx(1.0)
    assert PSNR(CPU)(batch).item() == pytest.approx(10 * np.log10(2), abs=1e-5)


def test_equal_images_have_no_psnr_and_that_is_said():
    _, smooth = pictures()
    noisy, _ = pictures()
    values = PSNR(CPU)(pair(torch.cat([smooth, noisy]), torch.cat([smooth, smooth]))).double().numpy()
    figure = summarise(PSNR(CPU), values, seed=0)
    assert figure.count == 3 and np.isfinite(figure.value) and figure.note.startswith("3 equal")


@pytest.mark.parametrize("size", [40, 64])
def test_psnr_and_ssim_are_scikit_images(size):
    reference = pytest.importorskip("skimage.metrics")
    pytest.importorskip("torchmetrics")
    noisy, smooth = pictures(size=size)
    got = {name: METRICS[name](CPU)(pair(noisy, smooth)) for name in ("psnr", "ssim")}
    for index in range(len(noisy)):
        output, target = (each[index].permute(1, 2, 0).numpy() for each in (noisy, smooth))
        psnr = reference.peak_signal_noise_ratio(target, output, data_range=255)
        ssim = reference.structural_similarity(
            target,
            output,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
        assert got["psnr"][index].item() == pytest.approx(psnr, abs=1e-4)
        assert got["ssim"][index].item() == pytest.approx(ssim, abs=1e-4)


def test_white_paper_is_equal_to_itself():
    pytest.importorskip("torchmetrics")
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    white[..., 10:20, 10:20] = 251
    assert METRICS["ssim"](CPU)(pair(white, white)).item() == pytest.approx(1, abs=1e-6)


def test_small_images_have_no_structure_to_compare():
    pytest.importorskip("torchmetrics")
    for name, size in (("ssim", 10), ("ms-ssim", 175)):
        assert METRICS[name](CPU)(pair(*pictures(size=size))).isnan().all()
    values = METRICS["ms-ssim"](CPU)(pair(*pictures(size=176)))
    assert ((values > 0) & (values < 1)).all()


def test_the_interval_covers_the_mean_at_its_stated_rate():
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = interval(random.normal(3.0, 1.0, 50), seed=trial, resamples=300)
        hits += low <= 3.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_interval_depends_on_the_seed_alone():
    values = np.random.default_rng(0).random(30)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
