"""Samplers against the official implementations."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddbm_cli.paths import VEBridge, VPBridge
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
