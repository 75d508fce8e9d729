"""Laws of priors: exact answers on Gaussian mixtures, EDM's trajectory, and SDEdit's start."""

import re
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from ddbm_cli.denoisers import Denoiser, Preconditioned
from ddbm_cli.foundation.settings import spell
from ddbm_cli.options.translate import LEVELS
from ddbm_cli.paths import PATHS as REGISTRY
from ddbm_cli.paths import VE, VP
from ddbm_cli.samplers import (
    SAMPLERS,
    Bridge,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Karras,
    LogSNR,
    NoisedStart,
    NoiseSource,
    Plan,
    PredictorCorrector,
    Prior,
    Uniform,
    finish,
    sample,
)
from tests.laws import Given, no_noise, variants


@dataclass(frozen=True)
class Mixture:
    """Independent pixels from two Gaussians."""

    path: object
    means: tuple = (-0.6, 0.5)
    std: float = 0.15
    shares: tuple = (0.4, 0.6)

    def parts(self, t):
        _, b, c = self.path.coefficients(t)
        return [b * mean for mean in self.means], (b**2 * self.std**2 + c**2).sqrt(), b

    def denoise(self, x, t, source):
        centres, std, b = self.parts(t)
        logits = [torch.log(torch.tensor(w)) - ((x - m) / std) ** 2 / 2 for w, m in zip(self.shares, centres)]  # noqa: B905
        weights = torch.softmax(torch.stack(logits), 0)
        gain = b * self.std**2 / std**2
        means = [mean + gain * (x - m) for mean, m in zip(self.means, centres)]  # noqa: B905
        return (weights * torch.stack(means)).sum(0)

    def cdf(self, x, t):
        centres, std, _ = self.parts(t)
        normal = torch.special.ndtr
        return sum(w * normal((x - m) / std) for w, m in zip(self.shares, centres))  # noqa: B905

    def quantile(self, u, t):
        low, high = torch.full_like(u, -500), torch.full_like(u, 500)
        for _ in range(90):
            middle = (low + high) / 2
            below = self.cdf(middle, t) < u
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return low

    def draw(self, count):
        return self.quantile(((torch.arange(count) + 0.5) / count).double(), torch.tensor(0.0).double())

    @property
    def moments(self):
        mean = sum(w * m for w, m in zip(self.shares, self.means))  # noqa: B905
        return mean, self.std**2 + sum(w * (m - mean) ** 2 for w, m in zip(self.shares, self.means))  # noqa: B905


PATHS = [VE(sigma_max=20.0), *(kind() for name, kind in REGISTRY.items() if kind.source_free and name != "ve")]
SMOOTH = [path for path in PATHS if not path.discrete]
DETERMINISTIC = [
    each for each in variants(SAMPLERS) if not each.stochastic and getattr(each, "doob_weight", 1.0) == 1.0
]


@pytest.mark.parametrize("path", SMOOTH, ids=lambda path: path.name)
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=spell)
def test_ode_samplers_move_a_mixture_at_their_order(path, sampler):
    """In one dimension the ODE keeps every state at its quantile, so the exact answer is known."""
    mixture, errors = Mixture(path), []
    u = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    for steps in (64, 128):
        times = LogSNR(gap=0.5 * path.t_max, t_min=0.02 * path.t_max).times(path, steps)
        state = mixture.quantile(u, times[0]).view(1, 1, 1, 9)
        result = finish(sample(mixture.denoise, Bridge(path, state, no_noise), sampler, Given(state), times))
        errors.append(float((result.flatten() - mixture.quantile(u, times[-1])).abs().max()))
    assert errors[0] / errors[1] > 2 ** (sampler.convergence_order - 0.35), errors


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "sampler",
    [HybridHeun(churn=0.0), HybridHeun(churn=0.33), Implicit(eta=1.0), EulerMaruyama(), PredictorCorrector(snr=0.1)],
    ids=str,
)
def test_samples_have_the_moments_of_the_mixture(path, sampler):
    mixture, blank = Mixture(path), torch.zeros(1, 1, 150, 150, dtype=torch.float64)
    times = LogSNR(gap=1e-3 * path.t_max, t_min=2e-3).times(path, 100)
    result = finish(sample(mixture.denoise, Bridge(path, blank, NoiseSource(0, ["x"])), sampler, Prior(), times))
    mean, variance = mixture.moments
    assert abs(float(result.mean()) - mean) < 0.02 and abs(float(result.var()) / variance - 1) < 0.04


class Toy(torch.nn.Module):
    """A network that depends on all its inputs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.8, dtype=torch.float64))

    def forward(self, x, time):
        return torch.tanh(self.weight * x + torch.sin(time).view(-1, 1, 1, 1).to(x))


def test_without_a_source_the_trajectory_is_that_of_edm():
    """The same seed and network by Alg. 1 of arXiv:2206.00364 and its Table 1, written out."""
    data, network, noise = 0.5, Toy(), NoiseSource(0, ["a", "b"])
    path = VE()
    denoiser = Denoiser(network, path, Preconditioned(sigma_data=data), sees_source=False)
    blank = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    times = Karras(rho=7.0, gap=0.0).times(path, 18)
    result = finish(sample(denoiser, Bridge(path, blank, noise), HybridHeun(churn=0.0), Prior(), times))

    def edm(x, sigma):
        total = sigma**2 + data**2
        inner = network(x / total.sqrt(), (1000 * sigma.log() / 4).reshape(1).float())
        return data**2 / total * x + sigma * data / total.sqrt() * inner

    steps = torch.arange(18, dtype=torch.float64) / 17
    sigmas = torch.cat([(80 ** (1 / 7) + steps * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, torch.zeros(1).double()])
    x = 80 * NoiseSource(0, ["a", "b"])(blank)
    with torch.no_grad():
        for now, then in pairwise(sigmas):
            slope = (x - edm(x, now)) / now
            end = x + (then - now) * slope
            x = end if then == 0 else x + (then - now) * (slope + (end - edm(end, then)) / then) / 2
    assert float((result - x).abs().max()) < 1e-8


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_strength_0_returns_the_guide_without_evaluations(path):
    guide = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plan = Plan(path=path, sampler=HybridHeun(churn=0.0), grid=Karras(), start=NoisedStart(strength=0), steps=5)
    assert plan.nfe == 0
    bridge = Bridge(path, guide, NoiseSource(0, ["x"]))
    assert torch.equal(finish(sample(no_noise, bridge, plan.sampler, plan.start, plan.times)), guide)


@pytest.mark.parametrize("path", [VE(), VP()], ids=lambda path: path.name)
def test_the_information_about_the_guide_falls_with_strength_to_zero(path):
    """Mutual information of guide and result, in nats, as for Gaussians, on a mixture with its exact estimates."""
    mixture = Mixture(path)
    guide = mixture.draw(40_000)[torch.randperm(40_000, generator=torch.Generator().manual_seed(1))].view(
        1, 1, 200, 200
    )
    known = []
    for strength in (0.1, 0.2, 0.4, 1.0):
        plan = Plan(
            path=path, sampler=HybridHeun(churn=0.0), grid=Karras(), start=NoisedStart(strength=strength), steps=20
        )
        bridge = Bridge(path, guide, NoiseSource(0, ["x"]))
        result = finish(sample(mixture.denoise, bridge, plan.sampler, plan.start, plan.times))
        correlation = torch.corrcoef(torch.stack([guide.flatten(), result.flatten()]))[0, 1]
        known.append(float(-0.5 * torch.log(1 - correlation**2)))
        assert abs(float(result.var()) / mixture.moments[1] - 1) < 0.15
    assert known == sorted(known, reverse=True) and known[0] > 0.2 and known[-1] < 1e-3, known


@pytest.mark.parametrize("grid", [Karras(), Uniform(), LogSNR()], ids=lambda grid: grid.name)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_strength_is_the_same_noise_level_on_every_path(path, grid):
    start = NoisedStart(strength=0.4)
    assert start.sigma(path) == pytest.approx(2.0, abs=0.05)
    times = Plan(path=path, sampler=Implicit(), grid=grid, start=start, steps=6).times
    assert len(times) == 7 and times.diff().lt(0).all() and times[0] == start.first(path)


def test_noise_levels_in_the_help_are_those_of_the_strengths():
    pairs = re.findall(r"(0\.\d+) is (?:sigma )?([\d.]+\d)", LEVELS)
    assert len(pairs) == 4
    for strength, sigma in pairs:
        assert NoisedStart(strength=float(strength)).sigma(VE()) == pytest.approx(float(sigma), rel=0.03)
