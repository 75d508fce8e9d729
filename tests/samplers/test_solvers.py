"""DBMSolver, multistep in lambda, ECSI and booted Heun: their formulas, orders and refusals."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.paths import PATHS, BrownianBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.samplers import (
    ECSI,
    SAMPLERS,
    Booted,
    BootedHeun,
    Bridge,
    DBMSolver,
    Euler,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Karras,
    LogSNR,
    Multistep,
    NoiseSource,
    Pinned,
    Plan,
    Uniform,
    default_grid,
    default_start,
    finish,
    reference_snr,
    sample,
)
from ddbm_cli.samplers.base import Estimate, Interval
from tests import laws
from tests.exact import MixturePairs
from tests.laws import GaussianPairs, Given, no_noise
from tests.test_laws import WrongNoise

SOLVERS = (DBMSolver(), DBMSolver(middle="time"), Multistep(variable="lambda"), Multistep(order=3, variable="lambda"))
OTHERS = (Implicit(), Multistep(), Multistep(order=3), HybridHeun(churn=0.0), Euler())
ALL = (*SOLVERS, *OTHERS, BootedHeun(), ECSI(eta=0.0))


def answered(step, *estimates):
    """The result of one step whose queries are answered by these estimates."""
    next(step)
    for each in estimates[:-1]:
        step.send(each)
    with pytest.raises(StopIteration) as stopped:
        step.send(estimates[-1])
    return stopped.value.value


@pytest.mark.parametrize("path", laws.smooth_paths(), ids=spell)
@pytest.mark.parametrize("ends", [(0.999, 0.9), (0.9, 0.5), (0.5, 0.49999), (0.7, 0.02)])
def test_the_weight_of_the_second_estimate_equals_quadrature(path, ends):
    t, s = (torch.tensor(each * path.t_max, dtype=torch.float64) for each in ends)
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(200))
    m_t, m_s = reference_snr.root(path, t), reference_snr.root(path, s)
    half = (m_s.log() - m_t.log()) / 2
    m = torch.exp(m_t.log() + half * (1 + nodes))  # in log m, where the integrand is smooth
    rise = reference_snr.level(path, m) - reference_snr.level(path, m_t)
    for moment, power in ((reference_snr.first_moment, rise), (reference_snr.second_moment, rise**2 / 2)):
        wanted = half * (weights * power * m).sum() / m_s
        assert abs(float(moment(path, t, s) - wanted)) < 1e-12


@pytest.mark.parametrize("path", laws.smooth_paths(), ids=spell)
def test_estimates_that_are_linear_in_lambda_have_no_error(path):
    """Against the integral of the flow, d(x / c) = x_T d(a / c) + x0 d(b / c), by the trapezoidal rule."""
    source = torch.full((1, 1, 1, 1), 0.0 if path.source_free else 0.3, dtype=torch.float64)
    x = torch.full_like(source, 0.7)
    t, s = torch.tensor([0.8, 0.5], dtype=torch.float64) * path.t_max

    def estimate(time):
        return (0.1 + 0.4 * reference_snr.level(path, reference_snr.root(path, time))).view(-1, 1, 1, 1)

    middle = []
    step = DBMSolver().step(Bridge(path, source, no_noise), x, Interval(t, s, last=False), [])
    next(step)
    middle.append(step.send(estimate(t)).t)
    with pytest.raises(StopIteration) as stopped:
        step.send(estimate(middle[0]))
    times = path.time_at(torch.linspace(float(path.log_snr(t)), float(path.log_snr(s)), 100_001, dtype=torch.float64))
    (_, b, c), (a_t, _, c_t), (a_s, _, c_s) = (path.coefficients(each) for each in (times, t, s))
    integral = torch.trapezoid(estimate(times).flatten(), b / c)
    exact = c_s * (x / c_t + source * (a_s / c_s - a_t / c_t) + integral)
    assert torch.allclose(stopped.value.value, exact, rtol=1e-9)


@pytest.mark.parametrize("path", laws.smooth_paths(), ids=spell)
def test_with_a_constant_estimate_one_step_is_dbim(path):
    x, x0, source = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    source = torch.zeros_like(source) if path.source_free else source
    interval = Interval(*(torch.tensor([0.8, 0.5], dtype=torch.float64) * path.t_max), last=False)
    bridge = Bridge(path, source, no_noise)
    wanted = answered(Implicit().step(bridge, x, interval, []), x0)
    for sampler in (DBMSolver(), DBMSolver(middle="time")):
        assert torch.allclose(answered(sampler.step(bridge, x, interval, []), x0, x0), wanted, rtol=1e-12, atol=1e-13)
    earlier = [Estimate(torch.tensor(-9.0, dtype=torch.float64), x0)]
    made = answered(Multistep(variable="lambda").step(bridge, x, interval, earlier), x0)
    assert torch.allclose(made, wanted, rtol=1e-12, atol=1e-13)


@cache
def end_on_a_mixture(path, sampler, steps):
    source = torch.linspace(-0.9, 0.9, 9, dtype=torch.float64).view(1, 1, 3, 3)
    source = torch.zeros_like(source) if path.source_free else source
    times = LogSNR(gap=0.2 * path.t_max, t_min=0.1 * path.t_max).times(path, steps)
    a, _, c = path.coefficients(times[0])
    state = a * source + c * torch.linspace(-1.5, 1.5, 9, dtype=torch.float64).view(1, 1, 3, 3)
    denoise = MixturePairs(path).denoise
    return finish(sample(denoise, Bridge(path, source, no_noise), sampler, Given(state), times))


@pytest.mark.parametrize("path", laws.smooth_paths(), ids=spell)
@pytest.mark.parametrize("sampler", ALL, ids=spell)
def test_orders_on_a_mixture(path, sampler):
    """The solution is that of 256 steps of DBMSolver on the same grid."""
    fine = end_on_a_mixture(path, DBMSolver(), 256)
    errors = [float((end_on_a_mixture(path, sampler, steps) - fine).abs().max()) for steps in (32, 64)]
    assert np.log2(errors[0] / errors[1]) > sampler.convergence_order - 0.35, errors


@pytest.mark.parametrize("path", [VPBridge(), VEBridge(), BrownianBridge()], ids=spell)
def test_at_many_steps_all_etas_of_ecsi_have_one_distribution(path):
    """The Wasserstein distance to the exact one, at 200 steps; without noise, eta = 0, a source has one result."""
    pairs = GaussianPairs(path)
    source = torch.full((1, 1, 100, 100), 0.4, dtype=torch.float64)
    plan = Plan(path=path, sampler=ECSI(), grid=default_grid(path, ECSI()), start=Pinned(), steps=200)
    mean, variance = pairs.target_given(source)
    quantiles = torch.special.ndtri((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000)
    for eta in (0.3, 0.6, 1.0):
        bridge = Bridge(path, source, NoiseSource(1, ["x"]))
        result = finish(sample(pairs.denoise, bridge, ECSI(eta=eta), Pinned(), plan.times)).flatten().sort().values
        assert float((result - float(mean.mean()) - variance**0.5 * quantiles).abs().mean()) < 0.03, eta


def test_the_last_two_steps_of_ecsi_draw_nothing_and_the_others_are_the_sde():
    path, drawn = VPBridge(), []
    source = torch.linspace(-1, 1, 4, dtype=torch.float64).view(1, 1, 2, 2)

    def noise(like):
        drawn.append(like)
        return torch.ones_like(like)

    times = Uniform().times(path, 6)
    bridge = Bridge(path, source, noise)
    result = finish(sample(lambda x, t, s: torch.tanh(x), bridge, ECSI(eta=0.4), Pinned(), times))
    assert len(drawn) == 4
    x = source
    for t, s in pairwise(times[:-2]):
        x = answered(EulerMaruyama(noise=0.4).step(bridge, x, Interval(t, s, last=False), []), torch.tanh(x))
    for t, s in pairwise(times[-3:]):
        x = answered(Implicit().step(bridge, x, Interval(t, s, last=False), []), torch.tanh(x))
    assert torch.equal(result, x)


def test_ecsi_starts_at_the_source_itself():
    """From a drawn state the first step would amplify the noise: c. is about -c / (2 (T - t))."""
    path, pairs = VPBridge(), MixturePairs(VPBridge())
    source = torch.linspace(-0.9, 0.9, 400, dtype=torch.float64).view(1, 1, 20, 20)
    assert default_start(path, ECSI()) == Pinned()
    times = Karras(rho=7.0).times(path, 5)
    spread = [
        float(
            finish(
                sample(pairs.denoise, Bridge(path, source, NoiseSource(0, ["x"])), ECSI(eta=0.3), start, times)
            ).std()
        )
        for start in (Pinned(), Booted())
    ]
    assert spread[0] < 1 < spread[1]


def test_booted_heun_is_heun_from_a_drawn_state():
    path, source = VPBridge(), torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 4, 4)
    times = Karras(gap=0.01).times(path, 4)
    results = [
        finish(
            sample(lambda x, t, s: torch.tanh(x), Bridge(path, source, NoiseSource(0, ["x"])), sampler, Booted(), times)
        )
        for sampler in (BootedHeun(), HybridHeun(churn=0.0))
    ]
    assert torch.equal(*results)
    plan = Plan(path=path, sampler=BootedHeun(min_ratio=0.0), grid=Karras(gap=0.01), start=Booted(), steps=4)
    assert plan.nfe == 1 + 2 * 3 + 1


@pytest.mark.parametrize("nfe", [4, 6, 10, 20])
def test_even_budgets_of_dbmsolver_are_exact(nfe):
    """6 evaluations are the start, two steps of two, and the end."""
    path = VPBridge()
    plan = Plan(path=path, sampler=DBMSolver(), grid=Karras(), start=Booted(), steps=1).within(nfe)
    assert plan.nfe == nfe and plan.steps == nfe // 2


def test_eulers_end_differs_by_half_of_the_last_noise():
    path, source = VPBridge(), torch.full((1, 1, 2, 2), 0.4, dtype=torch.float64)
    times, ends = Karras().times(path, 3), []
    for sampler in (DBMSolver(), DBMSolver(end="euler")):
        bridge = Bridge(path, source, torch.ones_like)
        ends.append(finish(sample(MixturePairs(path).denoise, bridge, sampler, Booted(), times)))
    c = path.coefficients(times[-2]).c
    assert 0 < float((ends[0] - ends[1]).abs().max()) < 3 * float(c) / 2


def test_solvers_are_refused_where_the_theory_does_not_hold():
    for spec in ("dbmsolver", "ecsi", "booted-heun", "multistep:variable=lambda"):
        sampler = build(SAMPLERS, spec, what="sampler")
        with pytest.raises(UsageError, match="needs noise"):
            Plan(path=RectifiedFlow(), sampler=sampler, grid=Uniform(), start=Pinned(), steps=4)
    for spec in ("dbmsolver", "multistep:variable=lambda"):
        with pytest.raises(UsageError, match="proportional") as refused:
            Plan(
                path=WrongNoise(), sampler=build(SAMPLERS, spec, what="sampler"), grid=Karras(), start=Booted(), steps=4
            )
        assert refused.value.hint
    Plan(path=WrongNoise(), sampler=Multistep(), grid=Karras(), start=Booted(), steps=4)


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=spell)
def test_all_bridges_of_the_package_have_a_lambda(path):
    reference_snr.check_reference(path, "dbmsolver", "")
