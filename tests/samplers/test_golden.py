"""Samplers against the official implementations."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddbm_cli.paths import I2SBBridge, VEBridge, VPBridge
from ddbm_cli.samplers import (
    Booted,
    Bridge,
    HybridHeun,
    Implicit,
    Karras,
    Multistep,
    Pinned,
    Uniform,
    count_evaluations,
    finish,
    sample,
)
from tests.laws import no_noise


def golden_cases():
    return json.loads((Path(__file__).parent.parent / "golden" / "samplers.json").read_text())


@pytest.mark.parametrize("case", golden_cases())
def test_samplers_equal_the_official_ones(case, golden):
    settings, values = golden_cases()[case], load_file(golden / "samplers.safetensors")
    if case.startswith("ddbm"):
        path = VPBridge() if settings["path"] == "vp" else VEBridge(sigma_max=settings["sigma_max"])
        w, churn = settings["w"], settings["churn"]
        # The official VE code means something else by w, and ignores it in the stochastic step.
        ve = {"doob_weight": (1 + w) / 2, "churn_doob_weight": 1.0}
        sampler = HybridHeun(churn=churn, **(ve if settings["path"] == "ve" else {"doob_weight": w}))
        grid, start = Karras(rho=settings["rho"]), Pinned()
    else:
        path = VPBridge() if settings["path"] == "vp" else VEBridge(sigma_max=settings["t_max"])
        sampler = Implicit(eta=settings["eta"]) if "eta" in settings else Multistep(order=settings["order"])
        grid, start = Uniform(), Booted()
    times = grid.times(path, settings["steps"])
    assert torch.allclose(times, values[f"{case}.times"], rtol=1e-12, atol=0)
    noise = iter(values.get(f"{case}.noise", []))
    bridge = Bridge(path, values["x_T"], lambda like: next(noise))
    calls = []

    def denoise(x, t, source):
        calls.append(t)
        return torch.tanh(0.7 * x + 0.2 * source).clamp(-1, 1)

    result = finish(sample(denoise, bridge, sampler, start, times))
    wanted = values[f"{case}.result"]
    assert float((result - wanted).abs().max()) <= 1e-10 * float(wanted.max() - wanted.min())
    assert len(calls) == settings["nfe"] == count_evaluations(path, sampler, start, times)


def official_ve_ode(x, times, sigma_max, denoise):
    """The ODE sampler of the official code for VE (karras_diffusion.py, to_d and sample_heun), w = 1, no churn."""
    source = x

    def slope(x, t):
        pull = (denoise(x, t, source) - x) / t**2 - (source - x) / (sigma_max**2 - t**2)
        return -t * pull

    for t, s in pairwise(times):
        first = slope(x, t)
        end = x + first * (s - t)
        x = end if s == 0 else x + (first + slope(end, s)) / 2 * (s - t)
    return x


@pytest.mark.parametrize("sigma_max", [10.0, 80.0])
@pytest.mark.parametrize("steps", [3, 8])
def test_no_digits_are_lost_near_the_source(sigma_max, steps):
    """float64 agrees with the official formula to 1e-12 for few steps too, and float32 to a hundredth of a level."""
    path = VEBridge(sigma_max=sigma_max)
    source = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(steps)) * 2 - 1
    times = Karras().times(path, steps)

    def denoise(x, t, source):
        return torch.tanh(0.7 * x + 0.2 * source)

    wanted = official_ve_ode(source, times, sigma_max, denoise)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        bridge = Bridge(path, source.to(dtype), no_noise)
        result = finish(sample(denoise, bridge, HybridHeun(churn=0.0), Pinned(), times))
        assert float((result - wanted).abs().max() / wanted.abs().max()) < tolerance, dtype


def official_dbim(x, times, path, eta, denoise, noises):
    """DBIM's sampler on I2SB's table as the official code has it: rho is s_f, and a + b is not 1."""
    forward, _ = path.gathered
    source, noises = x, iter(noises)

    def row(t):
        return round(float(t) * (path.intervals - 1))

    def abc(t):
        return (column[row(t)] for column in path.table)

    a, b, c = abc(times[0])
    x = a * source + b * denoise(source, None, source) + c * next(noises)
    for index, (t, s) in enumerate(pairwise(times), start=2):
        x0, (a, b, c), (a_s, b_s, c_s) = denoise(x, t, source), abc(t), abc(s)
        omega = eta * (forward[row(s)] * (1 - forward[row(s)] / forward[row(t)])).sqrt()
        kept = (c_s**2 - omega**2).sqrt() / c
        x = (b_s - kept * b) * x0 + (a_s - kept * a) * source + kept * x
        x = x + (omega * next(noises) if index < len(times) else 0)
    return x


@pytest.mark.parametrize("own_step", ["twice", "once"])
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8, 1.0])
def test_dbim_on_the_table_of_i2sb_is_the_official_one(eta, own_step):
    path = I2SBBridge(beta_max=1.0, own_step=own_step)
    random = torch.Generator().manual_seed(7)
    source, *noises = torch.randn(12, 2, 3, 4, 4, dtype=torch.float64, generator=random)
    times = Uniform().times(path, 10)

    def denoise(x, t, source):
        return torch.tanh(0.7 * x + 0.2 * source)

    left = iter(noises)
    bridge = Bridge(path, source, lambda like: next(left))
    result = finish(sample(denoise, bridge, Implicit(eta=eta), Booted(), times))
    assert torch.allclose(result, official_dbim(source, times, path, eta, denoise, noises), atol=1e-12)


def test_the_markov_step_on_the_table_of_i2sb_is_its_own_posterior():
    """I2SB's sampler: the product of two Gaussians of s_f, without noise in the last step."""
    path = I2SBBridge(own_step="once")
    random = torch.Generator().manual_seed(8)
    source, *noises = torch.randn(6, 2, 3, 4, 4, dtype=torch.float64, generator=random)
    rows = torch.tensor([999, 700, 400, 100, 0])
    forward = path.gathered[0]

    def denoise(x, t, source):
        return torch.tanh(0.7 * x)

    x, left = source, iter(noises)
    for n, before in pairwise(rows):
        near, rest = forward[before], forward[n] - forward[before]
        x = (rest * denoise(x, None, None) + near * x) / forward[n]
        x = x + ((near * rest / forward[n]).sqrt() * next(left) if before > 0 else 0)
    left = iter(noises)
    bridge = Bridge(path, source, lambda like: next(left))
    result = finish(sample(denoise, bridge, Implicit(eta=1.0), Pinned(), rows.double() / 999))
    assert torch.allclose(result, x, atol=1e-12)
