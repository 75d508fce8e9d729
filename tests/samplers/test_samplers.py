"""Laws of the samplers on pairs with an exact answer, and their golden values."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.paths import VE, VP, BrownianBridge, Cosine, I2SBBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.samplers import (
    ALIASES,
    SAMPLERS,
    Booted,
    Bridge,
    Euler,
    HybridHeun,
    Implicit,
    Karras,
    Multistep,
    NoiseSource,
    Pinned,
    Plan,
    Prior,
    Uniform,
    default_grid,
    default_start,
    finish,
    sample,
)
from ddbm_cli.samplers.base import Estimate, Interval
from tests.exact import GaussianPairs
from tests.laws import Given, no_noise


@pytest.mark.parametrize("order", [2, 3])
def test_a_multistep_step_is_exact_for_polynomials(order):
    """With estimates that are a polynomial in lambda, of one degree less than the order, a full step has no error."""
    path = VPBridge()
    source = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
    t0, t1, t2, s = torch.tensor([0.9, 0.8, 0.65, 0.5], dtype=torch.float64)

    def estimate(level):
        return sum((0.2 * level) ** power for power in range(order)).view(1, 1, 1, 1)

    levels = [path.log_snr(t) / 2 for t in (t0, t1, t2, s)]
    history = [Estimate(level, estimate(level)) for level in levels[:2]]
    x = torch.full_like(source, 0.7)
    step = Multistep(order=order).step(Bridge(path, source, no_noise), x, Interval(t2, s, last=False), history)
    next(step)
    with pytest.raises(StopIteration) as stopped:
        step.send(estimate(levels[2]))
    (a, _, c), (a_s, _, c_s) = path.coefficients(t2), path.coefficients(s)
    nodes = torch.linspace(float(levels[2]), float(levels[3]), 200_001, dtype=torch.float64)
    values = nodes.exp() * sum((0.2 * nodes) ** power for power in range(order))
    exact = c_s / c * x + (a_s - a * c_s / c) * source + c_s * torch.trapezoid(values, nodes)
    assert torch.allclose(stopped.value.value, exact, rtol=1e-9)


def test_without_churn_the_hybrid_is_the_ode():
    """No noise is drawn, and the result is that of Heun's method written out."""
    path, pairs = VEBridge(sigma_max=3.0), GaussianPairs(VEBridge(sigma_max=3.0))
    source = pairs.sources(1, 1, 3, 3)
    times = Karras().times(path, 4)
    x = source
    for t, s in pairwise(times):
        slope = path.velocity(x, pairs.denoise(x, t, source), source, t)
        end = x + slope * (s - t)
        if s > 0:
            slope_end = path.velocity(end, pairs.denoise(end, s, source), source, s)
            end = x + (slope + slope_end) / 2 * (s - t)
        x = end
    bridge = Bridge(path, source, no_noise)
    result = finish(sample(pairs.denoise, bridge, HybridHeun(churn=0.0), Pinned(), times))
    assert torch.allclose(result, x, rtol=1e-12)


def test_the_unconditional_case_is_edm():
    """With a = 0 and c = t the ODE is dx = (x - D) / t dt, EDM's own."""
    path = VE(sigma_max=10.0)
    x, x0 = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.tensor(2.0, dtype=torch.float64)
    assert torch.allclose(path.velocity(x, x0, torch.zeros_like(x), t), (x - x0) / t)


@pytest.mark.parametrize("path", [VP(), Cosine()], ids=lambda path: path.name)
def test_the_implicit_step_is_ddim_where_there_is_no_source(path):
    x, x0 = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.8, 0.5, 0.2], dtype=torch.float64)
    bridge = Bridge(path, torch.zeros_like(x), no_noise)
    result = finish(sample(lambda *_: x0, bridge, Implicit(), Given(x), times[:2]))
    (_, b, c), (_, b_s, c_s) = path.coefficients(times[0]), path.coefficients(times[1])
    assert torch.allclose(result, b_s * x0 + c_s * (x - b * x0) / c)


def test_the_implicit_step_with_all_noise_is_the_posterior_of_i2sb():
    """At eta 1 the source drops out: the step is q(x_s | x_0, x_t), which I2SB and BBDM sample."""
    path = BrownianBridge(variance=0.5)  # x_t - x_0 is a Brownian motion of rate 2 * variance, given x_0
    x, x0 = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t, s, r = torch.tensor([0.7, 0.4, 0.1], dtype=torch.float64)
    results = [
        finish(
            sample(
                lambda *_: x0,
                Bridge(path, source, torch.zeros_like),
                Implicit(eta=1.0),
                Given(x),
                torch.stack([t, s, r])[:2],
            )
        )
        for source in (torch.zeros_like(x), torch.ones_like(x))
    ]
    assert torch.allclose(results[0], results[1])
    assert torch.allclose(results[0], x0 + s / t * (x - x0))


@pytest.mark.parametrize("ot_ode", [False, True])
def test_the_implicit_step_is_i2sbs_own_update(ot_ode):
    """Equations 4 and 11 and Proposition 3.4 of arXiv:2302.05872, from the betas alone, in all places of the table."""
    roots = torch.linspace(1e-4**0.5, (1.0 / 1000) ** 0.5, 1000, dtype=torch.float64)
    betas = torch.cat([roots[:500] ** 2, (roots[:500] ** 2).flip(0)])
    gathered = betas.cumsum(0)  # the paper's sigma_t^2
    path = I2SBBridge(beta_min=0.1, beta_max=1.0, own_step="once", ot_ode=ot_ode)
    x0, x, noise, source = torch.randn(4, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, before in ((999, 998), (999, 500), (998, 997), (700, 300), (500, 499), (2, 1)):
        state = source if row == 999 else x
        whole, rest = gathered[row], gathered[row] - gathered[before]
        wanted = rest / whole * x0 + gathered[before] / whole * state
        if not ot_ode:
            wanted = wanted + (gathered[before] * rest / whole).sqrt() * noise
        t, s = torch.tensor([row, before], dtype=torch.float64) / 999
        step = Implicit(eta=1.0).step(Bridge(path, source, lambda _: noise), state, Interval(t, s, False), [])
        next(step)
        with pytest.raises(StopIteration) as stopped:
            step.send(x0)
        assert float((stopped.value.value - wanted).abs().max()) < 1e-10, (row, before)


@pytest.mark.parametrize("path", [VPBridge(), VEBridge(), BrownianBridge()], ids=lambda path: path.name)
def test_the_implicit_step_leaves_the_source_by_a_draw(path):
    """At t_max the step and the booted start are one thing."""
    x0, source, noise = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bridge = Bridge(path, source, lambda _: noise)
    times = torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64) * path.t_max
    pinned = finish(sample(lambda *_: x0, bridge, Implicit(), Pinned(), times))
    booted = finish(sample(lambda *_: x0, bridge, Implicit(), Booted(), times[1:]))
    assert torch.equal(pinned, booted) and pinned.isfinite().all()


def test_eta_adds_noise_but_for_the_last_step():
    path, source = VPBridge(), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    draws = []
    noise = lambda like: draws.append(1) or torch.zeros_like(like)  # noqa: E731
    times = Uniform().times(path, 5)
    finish(sample(lambda x, t, source: x, Bridge(path, source, noise), Implicit(eta=0.5), Booted(), times))
    assert len(draws) == 1 + 4


def test_paths_without_noise_follow_their_line():
    """Rectified flow with a perfect estimate lands on the target, by each sampler that can."""
    path = RectifiedFlow()
    source, x0 = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(1, 0, 5, dtype=torch.float64)
    for sampler in (Implicit(), Euler(), HybridHeun(churn=0.0)):
        result = finish(sample(lambda *_: x0, Bridge(path, source, no_noise), sampler, Pinned(), times))
        assert torch.allclose(result, x0, atol=1e-12), sampler
    with pytest.raises(UsageError, match="needs noise"):
        finish(sample(lambda *_: x0, Bridge(path, source, no_noise), Multistep(), Pinned(), times))


def test_reflow_makes_straight():
    """Pairs that a blind rectified flow makes itself are joined by lines that do not cross: one step is enough."""
    path, times = RectifiedFlow(), torch.linspace(1, 0, 201, dtype=torch.float64)

    def blind(pairs):
        """The best estimate of the target from the state alone, for Gaussian pairs."""

        def denoise(x, t, source):
            a, b, _ = path.coefficients(t)
            variance = (a * pairs.source_std) ** 2 + (b * pairs.std) ** 2 + 2 * a * b * pairs.cov
            slope = (b * pairs.std**2 + a * pairs.cov) / variance
            return pairs.mean + slope * (x - a * pairs.source_mean - b * pairs.mean)

        return denoise

    def far(pairs):
        """How far one step lands from where 200 do."""
        ends = [
            finish(sample(blind(pairs), Bridge(path, source, no_noise), Euler(), Pinned(), each))
            for each in (times[[0, -1]], times)
        ]
        return float((ends[0] - ends[1]).abs().mean()), ends[1]

    drawn = GaussianPairs(path)
    source = drawn.sources(1, 1, 40, 40)
    before, made = far(drawn)
    cov = float(((made - made.mean()) * (source - source.mean())).mean())
    again = dataclasses.replace(
        drawn, mean=float(made.mean()), std=float(made.std(correction=0)), cov=cov,
        source_mean=float(source.mean()), source_std=float(source.std(correction=0)),
    )  # fmt: skip
    after, _ = far(again)
    assert before > 0.05 and after < 1e-6
    assert abs(again.std - drawn.std) < 0.02, "the targets are still those of the data"


@pytest.mark.parametrize("own_step", ["once", "twice"])
def test_i2sb_samples_on_its_table(own_step):
    path = I2SBBridge(own_step=own_step)
    pairs = GaussianPairs(path)
    source = torch.full((1, 1, 100, 100), 0.4, dtype=torch.float64)
    noise = NoiseSource(0, ["x"])
    times = Uniform(gap=0.0, t_min=1e-4).times(path, 200)
    result = finish(sample(pairs.denoise, Bridge(path, source, noise), Implicit(eta=1.0), Pinned(), times))
    mu, variance = pairs.target_given(source)
    assert abs(float((result - mu).mean())) < 0.02
    assert abs(float(result.var()) / variance - 1) < 0.1


def test_priors_start_from_noise_of_the_path():
    path, noise = VE(sigma_max=7.0), NoiseSource(0, ["x"])
    times = Karras().times(path, 3)
    start = Prior().begin(Bridge(path, torch.zeros(1, 1, 64, 64, dtype=torch.float64), noise), times[0])
    with pytest.raises(StopIteration) as stopped:
        next(start)
    assert abs(float(stopped.value.value.std()) / 7 - 1) < 0.05


def test_every_call_is_an_event():
    path, source = VPBridge(), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    calls = []

    def denoise(x, t, source):
        calls.append(float(t))
        return x

    plan = Plan(path=path, sampler=HybridHeun(), grid=Karras(), start=Pinned(), steps=4)
    events = list(sample(denoise, Bridge(path, source, torch.zeros_like), plan.sampler, plan.start, plan.times))
    assert [event.nfe for event in events] == list(range(1, 12))
    assert [event.t for event in events] == calls and plan.nfe == 11


@pytest.mark.parametrize("path", [RectifiedFlow(), I2SBBridge(ot_ode=True)], ids=lambda path: path.name)
def test_one_evaluation_is_enough_without_noise(path):
    """Also for cards that say "booted", which takes one evaluation more; other budgets keep that start."""
    source = torch.full((1, 1, 2, 2), 0.3, dtype=torch.float64)
    for kind in SAMPLERS.values():
        sampler = kind()
        if sampler.needs_noise:
            continue
        grid, start = default_grid(path, sampler), default_start(path, sampler)
        for plan in (
            Plan(path=path, sampler=sampler, grid=grid, start=start, steps=1),
            Plan(path=path, sampler=Implicit(), grid=Karras(rho=3.0), start=Booted(), steps=5).within(1),
        ):
            assert plan.steps == 1 and plan.start == Pinned() and plan.nfe == 1 + (plan.sampler.name == "heun")
            bridge, estimate = Bridge(path, source, torch.zeros_like), torch.full_like(source, 0.7)
            events = sample(lambda *_: estimate, bridge, plan.sampler, plan.start, plan.times)  # noqa: B023
            result = finish(events)
            exact = not path.discrete or plan.sampler == Implicit()  # the lines of the table are not straight in time
            assert torch.allclose(result, estimate) if exact else result.isfinite().all()
    assert Plan(path=path, sampler=Implicit(), grid=Karras(), start=Booted(), steps=5).within(4).start == Booted()


def test_aliases_are_settings():
    for spec in set(ALIASES.values()) - {"auto"}:
        build(SAMPLERS, spec, what="sampler")
