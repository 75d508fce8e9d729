"""The likelihood of priors, where it is known."""

import math

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import PATHS, VE, VPBridge
from ddbm_cli.samplers import NoiseSource
from ddbm_cli.samplers.likelihood import log_likelihood
from tests.samplers.test_priors import Mixture

PRIORS = [kind() for kind in PATHS.values() if kind.source_free and not kind.discrete]
NAMES = [str(index) for index in range(4)]


def by_name(value):
    return getattr(value, "name", str(value))


class Gaussian:
    """Images of 3x4x4 with correlated values: N(mean, covariance)."""

    def __init__(self, path):
        self.path = path
        random = torch.Generator().manual_seed(0)
        mixing = torch.randn(48, 48, generator=random, dtype=torch.float64)
        self.covariance = 0.2 * (mixing @ mixing.T) / 48 + 0.02 * torch.eye(48, dtype=torch.float64)
        self.mean = 0.3 * torch.randn(48, generator=random, dtype=torch.float64)

    def denoise(self, x, t, source):
        _, b, c = self.path.coefficients(t)
        total = b**2 * self.covariance + c**2 * torch.eye(48, dtype=torch.float64)
        gain = b * torch.linalg.solve(total, self.covariance)
        return (self.mean + (x.flatten(1) - b * self.mean) @ gain).view_as(x)

    def draw(self, count):
        distribution = torch.distributions.MultivariateNormal(self.mean, self.covariance)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            points = distribution.sample((count,))
        return points.view(count, 3, 4, 4), distribution.log_prob(points)


@pytest.mark.parametrize("path", PRIORS, ids=by_name)
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_the_likelihood_of_a_gaussian_is_exact(path, probe):
    """Within 0.5 % of the exact log-likelihood in the mean of 4 images, in bits of 8-bit pixels too."""
    gaussian = Gaussian(path)
    x, exact = gaussian.draw(4)
    found = log_likelihood(gaussian.denoise, path, x, NoiseSource(0, NAMES), steps=100, probe=probe, probes=4)
    assert found.dtype == torch.float64 and found.shape == (4,)
    bits = [-nats.mean() / (48 * math.log(2)) + math.log2(127.5) for nats in (found, exact)]
    assert float(bits[0] / bits[1]) == pytest.approx(1, abs=0.005), (found, exact)
    assert not torch.allclose(found, found[:1])


@pytest.mark.parametrize(
    "path", [PRIORS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in PRIORS[1:])], ids=by_name
)
def test_more_probes_lower_the_error(path):
    """It is then within 0.5 % in nats too, which have no constant part as bits have."""
    gaussian = Gaussian(path)
    x, exact = gaussian.draw(4)
    found = log_likelihood(gaussian.denoise, path, x, NoiseSource(0, NAMES), steps=120, probes=30)
    assert float(found.mean() / exact.mean()) == pytest.approx(1, abs=0.005), (found, exact)


@pytest.mark.parametrize("path", PRIORS, ids=by_name)
def test_the_likelihood_of_a_mixture_is_exact(path):
    """Independent pixels from two Gaussians: the Jacobian is diagonal, and signs as probes are exact."""
    mixture = Mixture(path)
    x = mixture.draw(400)[torch.randperm(400, generator=torch.Generator().manual_seed(1))].view(4, 1, 10, 10)
    parts = [
        math.log(share) - ((x - mean) / mixture.std) ** 2 / 2 - math.log(mixture.std * math.sqrt(2 * math.pi))
        for share, mean in zip(mixture.shares, mixture.means, strict=True)
    ]
    exact = torch.logsumexp(torch.stack(parts), 0).flatten(1).sum(1)
    found = log_likelihood(mixture.denoise, path, x, NoiseSource(0, NAMES), steps=100)
    assert float((found - exact).abs().max()) < 0.005 * 100  # nats of 100 pixels


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values() if kind.source_free], ids=by_name)
def test_the_default_steps_have_a_bias_below_a_thousandth_of_a_bit(path):
    """Independent Gaussians of very different widths, with signs as probes, whose divergence is exact."""
    deviations = torch.logspace(-1.7, 0.5, 48, dtype=torch.float64)
    x = (deviations * NoiseSource(1, NAMES)(torch.zeros(4, 1, 1, 48, dtype=torch.float64))).view(4, 3, 4, 4)

    def denoise(state, t, source):
        _, b, c = path.coefficients(t)
        return (state.flatten(1) * b * deviations**2 / (b**2 * deviations**2 + c**2)).view_as(state)

    exact = torch.distributions.Normal(0.0, deviations).log_prob(x.flatten(1)).sum(1)
    found = log_likelihood(denoise, path, x, NoiseSource(0, NAMES))
    finer = log_likelihood(denoise, path, x, NoiseSource(0, NAMES), steps=500)
    bits = 48 * math.log(2)
    assert abs(float((found - finer).mean())) / bits < 0.001
    assert abs(float((finer - exact).mean())) / bits < 0.005, "the rest is the noise of t_min"


def test_the_error_falls_with_the_fourth_power_of_the_steps():
    mixture = Mixture(VE(sigma_max=20.0, sigma_min=0.05))
    x = torch.linspace(-0.9, 0.8, 24, dtype=torch.float64).view(24, 1, 1, 1)
    noise = NoiseSource(0, [str(index) for index in range(24)])
    values = [log_likelihood(mixture.denoise, mixture.path, x, noise, steps=steps) for steps in (60, 120, 480)]
    errors = [float((value - values[2]).square().mean().sqrt()) for value in values[:2]]
    assert errors[0] / errors[1] > 10, errors


def test_odd_numbers_of_steps_are_rounded_up():
    mixture, x = Mixture(VE()), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    values = [log_likelihood(mixture.denoise, VE(), x, NoiseSource(0, ["x"]), steps=steps) for steps in (1, 2, 3, 4)]
    assert values[0] == values[1] != values[2] == values[3]


def test_seed_and_probe_change_the_estimate():
    gaussian = Gaussian(VE())
    x, _ = gaussian.draw(1)
    values = [
        float(log_likelihood(gaussian.denoise, VE(), x, NoiseSource(seed, ["x"]), steps=4, probe=probe))
        for seed, probe in ((0, "rademacher"), (1, "rademacher"), (0, "gaussian"), (0, "rademacher"))
    ]
    assert len({*values[:3]}) == 3 and values[0] == values[3]


def test_a_bridge_has_no_likelihood():
    with pytest.raises(UsageError, match="has a source"):
        log_likelihood(lambda x, t, s: x, VPBridge(), torch.zeros(1, 1, 2, 2), NoiseSource(0, ["x"]))
