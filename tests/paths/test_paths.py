"""Laws of all paths, and their golden values."""

import math

import pytest
import torch
from safetensors.torch import load_file

from ddbm_cli.paths import DDPM, PATHS, VP, I2SBBridge, VEBridge, VPBridge
from ddbm_cli.paths.base import differentiate
from tests.laws import changed, inner_times

NAMES = list(PATHS)
SOURCE_FREE = [name for name, path in PATHS.items() if path.source_free]
BRIDGES = [name for name in NAMES if name not in SOURCE_FREE]
OFFICIAL = {
    "vp": VPBridge(beta_d=2.0, beta_min=0.1),
    "ve80": VEBridge(sigma_max=80.0),
    "ve10": VEBridge(sigma_max=10.0),
    "i2sb": I2SBBridge(beta_min=0.1, beta_max=1.0),
}


def close(value, wanted, tolerance=1e-10):
    return float((value - wanted).abs().max()) <= tolerance * max(float(wanted.abs().max()), 1e-12)


@pytest.mark.parametrize("name", OFFICIAL)
def test_coefficients_equal_the_official_ones(name, golden):
    values = load_file(golden / "schedules.safetensors")
    got = OFFICIAL[name].coefficients(values[f"{name}.t"])
    for letter in "abc":
        assert close(getattr(got, letter), values[f"{name}.{letter}"])


@pytest.mark.parametrize("name", ["vp", "ve80", "ve10"])
def test_drift_and_diffusion_equal_the_official_ones(name, golden):
    values = load_file(golden / "schedules.safetensors")
    path, t = OFFICIAL[name], values[f"{name}.t"]
    assert close(path.diffusion_squared(t), values[f"{name}.g2"])
    assert torch.allclose(path.drift_rate(t), values[f"{name}.f"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_target_end_is_the_target(name):
    path = PATHS[name]()
    a, b, c = path.coefficients(torch.tensor(0.0, dtype=torch.float64))
    small = 0.03 if name == "i2sb" else 1e-12  # a table's first row has one step's noise
    assert abs(a) <= small and abs(b - 1) <= small and abs(c) <= small


@pytest.mark.parametrize("name", BRIDGES)
def test_the_source_end_of_a_bridge_is_the_source(name):
    path = PATHS[name]()
    a, b, c = path.coefficients(torch.tensor(path.t_max, dtype=torch.float64))
    small = 0.03 if name == "i2sb" else 1e-7
    assert abs(a - 1) <= small and abs(b) <= small and abs(c) <= small


@pytest.mark.parametrize("name", SOURCE_FREE)
def test_priors_have_no_source(name):
    path = PATHS[name]()
    assert path.coefficients(inner_times(path)).a.eq(0).all()


def test_the_table_of_i2sb_has_the_slopes_of_its_rows():
    path = I2SBBridge()
    t = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7, 0.9], dtype=torch.float64)  # not the middle, where the rate has a kink
    slope = path.derivatives(t).a
    wide = (path.coefficients(t + 0.01).a - path.coefficients(t - 0.01).a) / 0.02
    assert torch.allclose(slope, wide, rtol=0.01)


def test_log_snr_at_the_source_is_minus_infinity():
    path = VPBridge()
    assert path.log_snr(torch.tensor(path.t_max, dtype=torch.float64)) == -torch.inf


@pytest.mark.parametrize("name", NAMES)
def test_parameters_change_the_path(name):
    t = torch.tensor(0.37, dtype=torch.float64)
    plain = PATHS[name]()
    for field, other in changed(PATHS[name]):
        moved = [not torch.equal(x, y) for x, y in zip(plain.coefficients(t), other.coefficients(t), strict=True)]
        assert any(moved) or plain.t_min != other.t_min or plain.t_max != other.t_max, field


def test_coefficients_keep_their_digits_at_the_ends():
    """Against 50 digits of arithmetic: no cancellation near 0 or near T."""
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    path = VPBridge(beta_d=2.0, beta_min=0.1)
    for share in ("1e-9", "1e-4", "0.9999", "0.999999999"):
        t = Decimal(repr(float(share)))
        b_t, b_end = t * t + Decimal("0.1") * t, Decimal("1.1")
        ratio = ((b_t).exp() - 1) / (b_end.exp() - 1)
        c = ((1 - (-b_t).exp()) * (1 - ratio)).sqrt()
        got = path.coefficients(torch.tensor(float(share), dtype=torch.float64)).c
        # Near T the time itself has few digits left: 1 - t is known to 1e-16 / (1 - t).
        allowed = 1e-13 + 1e-15 / (1 - float(share))
        assert abs(float(got) / float(c) - 1) < allowed, share


@pytest.mark.parametrize("schedule", ["linear", "scaled-linear", "cosine"])
def test_ddpm_keeps_what_its_steps_keep(schedule):
    """Written as the papers have it, a product of shares; their step i, counted from 0, ends at t = (i + 1) / N."""
    if schedule == "linear":
        betas = [0.0001 + (0.02 - 0.0001) * i / 999 for i in range(1000)]
    elif schedule == "scaled-linear":
        betas = [(0.01 + (0.02**0.5 - 0.01) * i / 999) ** 2 for i in range(1000)]
    else:
        kept = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]
        betas = [min(1 - kept[i + 1] / kept[i], 0.999) for i in range(1000)]
    product = torch.tensor([1 - beta for beta in betas], dtype=torch.float64).cumprod(0)
    _, b, c = DDPM(schedule=schedule).coefficients(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert torch.allclose(b**2, product, rtol=1e-10, atol=0) and torch.allclose(c**2, 1 - product, rtol=1e-10)


def test_ddpm_is_vp_in_steps():
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert torch.allclose(DDPM().log_snr(t), VP().log_snr(t), rtol=0.01, atol=0.02)
    slopes, wanted = DDPM().derivatives(t + 1e-4), VP().derivatives(t + 1e-4)
    assert torch.allclose(slopes.b, wanted.b, rtol=0.02) and torch.allclose(slopes.c, wanted.c, rtol=0.02, atol=1e-4)


def test_ddpm_has_the_slopes_between_its_steps():
    t = torch.tensor([0.1003, 0.5007, 0.9001], dtype=torch.float64)
    for schedule in ("linear", "scaled-linear", "cosine"):
        path = DDPM(schedule=schedule)
        for closed, automatic in zip(path.derivatives(t), differentiate(path, t), strict=True):
            assert torch.allclose(closed, automatic, rtol=1e-9, atol=1e-12)
