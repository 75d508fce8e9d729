"""Sampling of Markov processes: which steps use the source, and what a chain keeps of an exact covariance."""

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import BrownianBridge, I2SBBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.paths.gaussian import Gaussian, GaussianBridge
from ddbm_cli.samplers import (
    Bridge,
    DBMSolver,
    Euler,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Multistep,
    Pinned,
    Plan,
    Uniform,
    finish,
    of_process,
    sample,
)
from ddbm_cli.samplers.markov import is_markov
from ddbm_cli.tasks.train.card import _markov_chain

PATHS = [BrownianBridge(variance=0.5), VEBridge(sigma_max=1.0, sigma_min=0.002), VPBridge()]
COUNT = 20_000


def plan(path, sampler):
    return Plan(path=path, sampler=sampler, grid=Uniform(gap=1e-3, t_min=0.0), start=Pinned(), steps=5)


@pytest.mark.parametrize("path", [*PATHS, I2SBBridge()], ids=lambda path: path.name)
def test_steps_that_use_the_source_are_found(path):
    assert is_markov(plan(path, Implicit(eta=1.0))) and is_markov(plan(path, EulerMaruyama()))
    for sampler in (Implicit(eta=0.0), Implicit(eta=0.9), HybridHeun(churn=0.0), Multistep()):
        assert not is_markov(plan(path, sampler)), sampler
    with pytest.raises(UsageError, match="model 'mine' is a Markov process"):
        of_process(plan(path, Implicit(eta=0.0)), "mine", both=False)
    for both in (False, True):
        assert not of_process(plan(path, EulerMaruyama()), "mine", both=both).estimates_source


@pytest.mark.parametrize("nfe", [3, 7, 8])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_estimates_of_the_source_are_counted(nfe, strength):
    """One for each step but the first, and one for the end of a partial trajectory."""
    asked = plan(PATHS[0], Implicit(eta=0.0)).within(nfe).stopped_at(strength)
    made = of_process(asked, "mine", both=True)
    blank = torch.zeros(1, 1, 1, 1)
    bridge = Bridge(made.path, blank, torch.zeros_like, estimate_source=lambda x, t, source: x)
    steps = sample(lambda x, t, source: x, bridge, made.sampler, made.start, made.times, partial=made.is_partial)
    assert len(list(steps)) == made.nfe and abs(made.nfe - nfe) <= 2


def test_a_path_without_noise_is_markov():
    assert is_markov(plan(RectifiedFlow(), Euler())) and is_markov(plan(RectifiedFlow(), Implicit(eta=0.0)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (0.25, 1.0), (1.0, 0.25)])
def test_the_default_chain_keeps_the_variance_and_the_coupling_of_exact_bridges(path, first, second):
    """With exact estimates; the implicit chain, for comparison, loses more than a tenth of the variance."""
    sides = [Gaussian(torch.zeros(1).double(), torch.tensor([[each]]).double()) for each in (first, second)]
    exact = GaussianBridge(path, target=sides[0], source=sides[1])
    random = torch.Generator().manual_seed(0)
    source = sides[1].draw(COUNT, random)

    def result(chain):
        def noise(like):
            return torch.randn(like.shape, generator=random, dtype=like.dtype)

        def estimate(x, t, source):
            return exact.estimate(x.flatten(1), t).view_as(x)

        bridge = Bridge(path, source.view(-1, 1, 1, 1), noise)
        made = finish(sample(estimate, bridge, chain.sampler, chain.start, chain.times)).flatten(1)
        return Gaussian.of(torch.cat([made, source], 1)).covariance

    found = result(_markov_chain(path, steps=20, equal=False))
    assert float(found[0, 0]) == pytest.approx(first, rel=0.1)
    assert float(found[0, 1]) == pytest.approx(float(exact.coupling), abs=0.02)
    implicit = result(Plan(path=path, sampler=Implicit(eta=1.0), grid=Uniform(gap=0.0), start=Pinned(), steps=20))
    assert float(implicit[0, 0]) < 0.92 * first


def flow(exact, source, sampler, steps):
    """Return where sampling ends, with exact estimates of target and source."""

    def estimated(process, x, t):
        return process.estimate(x.flatten(1), t).view_as(x)

    path = exact.path
    chain = of_process(replace(plan(path, sampler), steps=steps), "mine", both=True)
    bridge = Bridge(
        path,
        source[:, :, None, None],
        torch.randn_like,
        estimate_source=lambda x, t, _: estimated(exact.backward(), x, path.mirrored(t)),
    )
    run = sample(lambda x, t, _: estimated(exact, x, t), bridge, chain.sampler, chain.start, chain.times)
    return finish(run).flatten(1)


@cache
def map_of_the_flow(exact):
    """Return the matrix (2, 2) of the probability flow, by the classical Runge-Kutta method between the ends."""
    angle = torch.linspace(math.pi / 2 - 1e-3, 1e-3, 101, dtype=torch.float64)
    x = exact.source.mean + torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    for t, s in pairwise(exact.path.t_max * angle.sin() ** 2):
        h, middle = s - t, (t + s) / 2
        first = exact.velocity(x, t)
        second = exact.velocity(x + h / 2 * first, middle)
        third = exact.velocity(x + h / 2 * second, middle)
        x = x + h / 6 * (first + 2 * second + 2 * third + exact.velocity(x + h * third, s))
    return (x[1:] - x[0]).T


@cache
def two_gaussians(path):
    first = Gaussian(torch.tensor([0.3, -0.2]).double(), torch.tensor([[0.5, 0.1], [0.1, 0.3]]).double())
    second = Gaussian(torch.tensor([-0.1, 0.4]).double(), torch.tensor([[0.4, -0.2], [-0.2, 0.6]]).double())
    return GaussianBridge(path, target=first, source=second)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_other_direction_estimates_the_source(path):
    exact, x = two_gaussians(path), torch.tensor([[0.3, -0.4]]).double()
    for t in torch.tensor([0.01, 0.4, 0.97], dtype=torch.float64) * path.t_max:
        torch.testing.assert_close(exact.backward().estimate(x, path.mirrored(t)), exact.estimate_source(x, t))


def error_of_the_map(exact, sampler, steps):
    source = exact.source.mean + torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    ends = flow(exact, source, sampler, steps)
    return float(((ends[1:] - ends[0]).T - map_of_the_flow(exact)).abs().max())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_map_of_the_probability_flow_keeps_the_moments(path):
    exact = two_gaussians(path)
    found = map_of_the_flow(exact)
    torch.testing.assert_close(found @ exact.source.covariance @ found.T, exact.target.covariance, atol=2e-3, rtol=0)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_heun_follows_the_probability_flow_with_order_2(path):
    errors = [error_of_the_map(two_gaussians(path), HybridHeun(churn=0.0), steps) for steps in (10, 40)]
    assert errors[0] < 0.05 and errors[1] < 0.002, errors


@pytest.mark.parametrize("sampler", [Implicit(eta=0.0), Euler(), Multistep(), DBMSolver()], ids=lambda each: each.name)
def test_other_deterministic_samplers_follow_it_with_order_1(sampler):
    errors = [error_of_the_map(two_gaussians(PATHS[0]), sampler, steps) for steps in (20, 80)]
    assert errors[1] < 0.05 and errors[1] < errors[0] / 3, errors


def test_noise_of_any_strength_keeps_the_distribution():
    exact = two_gaussians(PATHS[0])
    source = exact.source.draw(COUNT, torch.Generator().manual_seed(0))
    made = Gaussian.of(flow(exact, source, Implicit(eta=0.5), 100))
    torch.testing.assert_close(made.mean, exact.target.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(made.covariance, exact.target.covariance, atol=0.03, rtol=0)
