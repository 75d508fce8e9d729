"""A bridge from noise, with a network that does not look at it, is plain diffusion: DDBM's unconditional case."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from ddbm_cli.denoisers import Denoiser, Preconditioned
from ddbm_cli.foundation.settings import spell
from ddbm_cli.objectives import noise_source
from ddbm_cli.paths import VE, VP, BrownianBridge, RectifiedFlow, VEBridge, VPBridge, reference
from ddbm_cli.paths.base import differentiate
from ddbm_cli.samplers import SAMPLERS, Bridge, HybridHeun, Karras, LogSNR, NoiseSource, Plan, Prior, finish, sample
from ddbm_cli.samplers.heun import doob_term
from tests.laws import crossed, variants
from tests.samplers.test_priors import Mixture, Toy

SIGMA_DATA = 0.5
REFERENCES = [(VEBridge(), VE()), (VPBridge(), VP(beta_d=2.0, beta_min=0.1))]


def by_name(value):
    return getattr(value, "name", "")


@pytest.mark.parametrize(("bridge", "reference"), REFERENCES, ids=by_name)
def test_the_source_has_the_noise_of_the_reference_process(bridge, reference):
    _, b, c = reference.coefficients(torch.tensor(bridge.t_max, dtype=torch.float64))
    assert bridge.sigma_T == pytest.approx(float(c), rel=1e-12)
    assert bridge.alpha_T == pytest.approx(float(b), rel=1e-12)
    assert BrownianBridge(variance=0.5).sigma_T == pytest.approx(1.0) and RectifiedFlow().sigma_T == 1.0


@pytest.mark.parametrize(("bridge", "reference"), REFERENCES, ids=by_name)
def test_both_drifts_are_those_of_the_reference_process(bridge, reference):
    """Whatever the source: the reverse SDE with doob_weight 1, the ODE with doob_weight 1/2."""
    states = torch.randn(3, 1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, x0, source = states * torch.tensor([2.0, 0.5, bridge.sigma_T]).view(3, 1, 1, 1, 1)
    for share in (0.01, 0.3, 0.9):
        t = torch.tensor(share * bridge.t_max, dtype=torch.float64)
        sde = bridge.reverse_drift(x, x0, source, t)
        assert torch.allclose(sde, reference.reverse_drift(x, x0, source, t), rtol=1e-9)
        ode = bridge.velocity(x, x0, source, t) + doob_term(bridge, x, source, t, 0.5)
        assert torch.allclose(ode, reference.velocity(x, x0, source, t), rtol=1e-9)


def test_its_preconditioning_is_that_of_edm():
    """Source and target of the reference process have covariance sigma_data^2; then all five numbers are EDM's."""
    path, t = VEBridge(), torch.tensor([0.01, 1.0, 79.0], dtype=torch.float64)
    source = (SIGMA_DATA**2 + path.sigma_T**2) ** 0.5
    ours = Preconditioned(sigma_data=SIGMA_DATA, sigma_source=source, cov=SIGMA_DATA**2).scalings(path, t)
    edm = Preconditioned(sigma_data=SIGMA_DATA).scalings(VE(), t)
    for number, wanted in zip(ours, edm, strict=True):
        assert torch.allclose(number, wanted, rtol=1e-9)


def trajectory(path, prediction, sampler, times, start=None):
    """The states that the network sees, and the last, for one seed and network."""
    denoiser = Denoiser(Toy(), path, prediction, sees_source=False)
    blank = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    noise, states = NoiseSource(0, ["a", "b"]), []
    course = sample(denoiser, Bridge(path, blank, noise), sampler, start or Prior(), times)
    while True:
        try:
            states.append(next(course).x)
        except StopIteration as stop:
            return [*states, stop.value]


def test_its_trajectory_is_that_of_edm():
    """The same seed and network by Alg. 1 of arXiv:2206.00364, written out."""
    path, network = VEBridge(), Toy()
    prediction = Preconditioned(
        sigma_data=SIGMA_DATA, sigma_source=(SIGMA_DATA**2 + path.sigma_T**2) ** 0.5, cov=SIGMA_DATA**2
    )
    sigmas = Karras(rho=7.0).times(path, 18)
    ours = trajectory(path, prediction, HybridHeun(churn=0.0), sigmas)

    def slope(x, sigma):
        total = sigma**2 + SIGMA_DATA**2
        inner = network(x / total.sqrt(), (1000 * sigma.log() / 4).reshape(1).float())
        return (x - SIGMA_DATA**2 / total * x - sigma * SIGMA_DATA / total.sqrt() * inner) / sigma

    x = sigmas[0] * NoiseSource(0, ["a", "b"])(torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    edm = []
    with torch.no_grad():
        for now, then in pairwise(sigmas):
            end = x + (then - now) * slope(x, now)
            edm += [x, end] if then > 0 else [x]
            x = end if then == 0 else x + (then - now) * (slope(x, now) + slope(end, then)) / 2
    edm.append(x)
    assert len(ours) == len(edm) == 2 * 18
    assert max(float((one - other).abs().max()) for one, other in zip(ours, edm, strict=True)) < 1e-8
    other = trajectory(path, prediction, HybridHeun(churn=0.0, doob_weight=0.5), sigmas)
    assert torch.allclose(other[-1], ours[-1], rtol=1e-12), "the reference process has no Doob term"


NOISES = [VEBridge(sigma_max=20.0), VPBridge(beta_d=19.9), RectifiedFlow(), BrownianBridge(variance=200.0)]


@pytest.mark.parametrize(
    ("path", "sampler"), crossed(NOISES, [each for each in variants(SAMPLERS) if each.name != "lbm"]), ids=spell
)
def test_every_sampler_draws_the_mixture_from_a_bridge(path, sampler):
    """Mean and variance of the target, by the exact estimate from the state alone.

    LBM's sampler does not converge to the distribution of the path; `samplers.lbm` says why.
    """
    mixture, blank = Mixture(reference(path)), torch.zeros(1, 1, 100, 100, dtype=torch.float64)
    if sampler.name == "predictor-corrector":
        sampler = dataclasses.replace(sampler, snr=0.1)
    plan = Plan(path=path, sampler=sampler, grid=LogSNR(gap=1e-3 * path.t_max), start=Prior(), steps=120)
    bridge = Bridge(plan.path, blank, NoiseSource(0, ["x"]))
    result = finish(sample(mixture.denoise, bridge, plan.sampler, plan.start, plan.times))
    mean, variance = mixture.moments
    assert abs(float(result.mean()) - mean) < 0.03 and abs(float(result.var()) / variance - 1) < 0.08


@pytest.mark.parametrize("path", NOISES, ids=by_name)
def test_the_reference_process_is_that_of_the_training_pairs(path):
    """Draws of x_t with sources from noise have its mean and variance given the target, and its slopes are right."""
    source_free, target = reference(path), torch.full((1, 1, 200, 200), 0.7, dtype=torch.float64)
    source = noise_source(path, target, NoiseSource(0, ["source"])(target))
    for share in (0.05, 0.5, 0.95):
        t = torch.full((1,), share * path.t_max, dtype=torch.float64)
        state = path.training_state(target, source, NoiseSource(1, ["x"])(target), t)
        _, b, c = source_free.coefficients(t)
        assert float(state.mean()) == pytest.approx(float(0.7 * b), abs=0.03 * float(c))
        assert float(state.std()) == pytest.approx(float(c), rel=0.02)
        for closed, automatic in zip(source_free.derivatives(t), differentiate(source_free, t), strict=True):
            assert torch.allclose(closed, automatic, rtol=1e-8)
    at_source = source_free.derivatives(torch.tensor(path.t_max, dtype=torch.float64))
    assert all(each.isfinite() for each in at_source)
    assert reference(source_free) is source_free
