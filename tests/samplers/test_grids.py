"""Time grids, default grids and starts, plans and their warnings."""

import dataclasses
import math
import time

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.paths import DDPM, PATHS, VE, BrownianBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.samplers import (
    GRIDS,
    SAMPLERS,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Karras,
    LogSNR,
    Multistep,
    Pinned,
    Plan,
    Timesteps,
    Uniform,
    choose,
    default_grid,
    default_start,
)
from ddbm_cli.samplers.defaults import GRIDS_OF
from tests import laws


def plan_of(path, sampler, steps=1):
    return Plan(
        path=path, sampler=sampler, grid=default_grid(path, sampler), start=default_start(path, sampler), steps=steps
    )


def test_log_snr_steps_are_equal():
    times = LogSNR(gap=0.01, t_min=0.01).times(VPBridge(), 8)
    gaps = VPBridge().log_snr(times).diff()
    assert torch.allclose(gaps, gaps.mean().expand(8), rtol=1e-9)


def test_listed_times_are_taken_as_they_are():
    assert Timesteps(at=(0.9, 0.5, 0.01)).times(VE(sigma_max=80.0), 3).tolist() == [72.0, 40.0, 0.8, 0.0]


def test_other_numbers_of_steps_interpolate_the_list():
    times = Timesteps(at=(0.99, 0.5)).times(VPBridge(), 3)
    between = math.sqrt(99.0)  # the odds half way, on their logarithmic scale, from 99 to 1
    assert times.tolist() == pytest.approx([0.99, between / (1 + between), 0.5, 0.0])


@pytest.mark.parametrize("at", [(0.5, 0.9), (0.9,), (1.0, 0.5), (0.5, 0.0)])
def test_listed_times_fall_from_1_to_0(at):
    with pytest.raises(ValueError):
        Timesteps(at=at)


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=spell)
def test_sampling_ends_where_no_noise_is_visible(path):
    """On every grid; a table's first row is the end of its own authors' sampling."""
    if path.name == "i2sb":
        pytest.skip("its first row has the noise of one step, as in the original")
    for kind in GRIDS.values():
        assert path.coefficients(kind().times(path, 8)[-1]).c * 127.5 < 0.5


def test_a_grid_with_its_own_end_keeps_it():
    for path in (DDPM(), BrownianBridge()):
        for grid in (Uniform(t_min=0.02), LogSNR(t_min=0.02)):
            assert float(grid.times(path, 5)[-1]) == pytest.approx(0.02)


def test_default_grids_name_registered_paths_and_samplers():
    assert GRIDS_OF.keys() == PATHS.keys()
    assert {name.partition(":")[0] for grids in GRIDS_OF.values() for name in grids} <= {"", *SAMPLERS}


def error_on_two_values(path, sampler, grid, steps):
    """Return how far samples are from -0.8 and 0.8, the only values of a target that a source does not tell apart."""

    def denoise(x, t, source):
        a, b, c = path.coefficients(t)
        return 0.8 * torch.tanh(0.8 * b * (x - a * source) / (c**2 + b**2 * 1e-4))

    source = torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    plan = Plan(path=path, sampler=sampler, grid=grid, start=default_start(path, sampler), steps=steps)
    bridge = laws.Bridge(path, source, laws.NoiseSource(0, ["x"]))
    result = laws.finish(laws.sample(denoise, bridge, plan.sampler, plan.start, plan.times))
    return float((result.abs() - 0.8).abs().mean())


@pytest.mark.parametrize(
    ("path", "sampler", "worse"),
    [
        (VE(), EulerMaruyama(), Uniform()),
        (VE(), Multistep(order=3), Uniform()),
        (VE(), Implicit(), Uniform()),
        (VEBridge(), Implicit(), Uniform()),
        (BrownianBridge(), Implicit(), Uniform(t_min=1e-4)),
    ],
    ids=lambda each: spell(each)[:30],
)
def test_default_grids_are_better_than_what_they_replaced(path, sampler, worse):
    default, before = (error_on_two_values(path, sampler, grid, 8) for grid in (default_grid(path, sampler), worse))
    assert default < before


@pytest.mark.parametrize("sampler", laws.variants(SAMPLERS), ids=spell)
@pytest.mark.parametrize("path", [VPBridge(), VE()], ids=spell)
def test_a_budget_is_met_as_closely_as_possible_and_said(path, sampler):
    plan = plan_of(path, sampler)
    for budget in (4, 10, 41):
        within = plan.within(budget)
        misses = [abs(dataclasses.replace(plan, steps=steps).nfe - budget) for steps in range(1, budget + 1)]
        assert abs(within.nfe - budget) == min(misses)
        said = [line for line in within.warnings() if "cannot take exactly" in line]
        assert bool(said) == (within.nfe != budget)
        assert all(str(budget) in line and str(within.nfe) in line for line in said)
    with pytest.raises(UsageError, match="too few"):
        plan.within(0)


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values() if not kind.source_free], ids=spell)
def test_one_evaluation_is_the_estimate_at_the_source(path):
    """Also of samplers whose drawn start takes one evaluation more, and whose steps take two."""
    source, asked = torch.full((1, 3, 2, 2), 0.3), []

    def denoise(x, t, source):
        asked.append((x, float(t)))
        return torch.full_like(x, 0.7)

    for kind in SAMPLERS.values():
        sampler = kind()
        if path.noise_free and sampler.needs_noise:
            continue
        least = plan_of(path, sampler)
        plan = least.within(1)
        assert (plan.nfe == 1 and [line for line in plan.warnings() if "1 network evaluation" in line] != []) or (
            least.nfe == 1
        )
        if least.nfe > 1:
            bridge = laws.Bridge(path, source, laws.no_noise)
            result = laws.finish(laws.sample(denoise, bridge, plan.sampler, plan.start, plan.times))
            assert torch.allclose(result, torch.full_like(source, 0.7))
            assert asked[-1][0] is source and asked[-1][1] == pytest.approx(path.t_last)


def test_ten_evaluations_of_the_hybrid_are_eleven():
    plan = dataclasses.replace(plan_of(VPBridge(), HybridHeun()), grid=Karras()).within(10)
    assert plan.nfe == 11 and plan.steps == 4


@pytest.mark.parametrize(("budget", "warned"), [(5, True), (11, True), (17, True), (20, False), (119, False)])
def test_too_few_steps_for_the_hybrid_are_said(budget, warned):
    plan = dataclasses.replace(plan_of(VPBridge(), HybridHeun()), grid=Karras())
    said = [line for line in plan.within(budget).warnings() if "leaves noise" in line]
    assert bool(said) == warned
    assert all(f"--sampler auto, which is '{choose(VPBridge(), budget).sampler}'" in line for line in said)


def test_a_plan_leaves_out_second_slopes_that_amplify_errors():
    plan = Plan(path=VPBridge(), sampler=HybridHeun(churn=0.0), grid=Karras(), start=Pinned(), steps=3)
    kept = Plan(path=VPBridge(), sampler=HybridHeun(churn=0.0, min_ratio=0.0), grid=Karras(), start=Pinned(), steps=3)
    assert (plan.nfe, kept.nfe) == (3, 5)
    path, pairs = plan.path, laws.GaussianPairs(plan.path)
    source = pairs.sources(1, 1, 8, 8)

    def error(each):
        result = laws.finish(
            laws.sample(pairs.denoise, laws.Bridge(path, source, laws.no_noise), each.sampler, each.start, each.times)
        )
        return float((result - pairs.flow(source, plan.times[0], plan.times[-1], source)).abs().mean())

    assert error(plan) < error(kept)


@pytest.mark.parametrize("sampler", laws.variants(SAMPLERS), ids=spell)
def test_one_evaluation_is_enough_for_rectified_flow(sampler):
    if sampler.needs_noise:
        with pytest.raises(UsageError, match="needs noise"):
            plan_of(RectifiedFlow(), sampler)
        return
    least = plan_of(RectifiedFlow(), sampler)
    assert least.times.tolist() == [1.0, 0.0]
    if not isinstance(sampler, HybridHeun):
        assert least.within(1).nfe == 1


@pytest.mark.parametrize("nfe", [119, 1000])
@pytest.mark.parametrize("sampler", [kind() for kind in SAMPLERS.values()], ids=spell)
@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=spell)
def test_planning_is_arithmetic(path, sampler, nfe, monkeypatch):
    """No step is taken for it."""
    if path.noise_free and sampler.needs_noise:
        pytest.skip("refused by plans")
    monkeypatch.setattr(type(sampler), "step", None)
    began = time.process_time()
    assert abs(plan_of(path, sampler).within(nfe).nfe - nfe) <= 1
    assert time.process_time() - began < 0.5  # 20 ms on a machine that is not busy: tests/benchmarks/planning.py
