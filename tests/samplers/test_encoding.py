"""Laws of encoding, and of noise between two draws."""

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import PATHS as REGISTRY
from ddbm_cli.paths import VE, RectifiedFlow, VPBridge
from ddbm_cli.samplers import (
    Booted,
    Bridge,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Karras,
    LogSNR,
    NoiseSource,
    Pinned,
    Plan,
    Prior,
    Slerp,
    Uniform,
    count_evaluations,
    encode,
    finish,
    sample,
)
from tests.exact import GaussianPairs

SMALL = {"ve-bridge": {"sigma_max": 3.0}, "ve": {"sigma_max": 10.0}}
"""Fields other than the defaults, with which few steps are enough."""

PATHS = [kind(**SMALL.get(name, {})) for name, kind in REGISTRY.items() if not kind.discrete and not kind().noise_free]


def by_name(path):
    return path.name


def start_of(path):
    return Prior() if path.source_free else Booted()


def denoise(x, t, source):
    """Not linear, and dependent on both inputs."""
    return torch.tanh(0.7 * x + 0.2 * source + 0.1)


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_decoding_returns_the_encoded_image(path):
    """The error falls with the steps, to little of the image."""
    random = torch.Generator().manual_seed(0)
    target, source = 0.5 * torch.randn(2, 2, 3, 4, 4, dtype=torch.float64, generator=random)
    errors = []
    for steps in (20, 80, 320):
        times = LogSNR(gap=1e-3 * path.t_max, t_min=1e-2 * path.t_max).times(path, steps)
        latent = finish(encode(denoise, path, target, source, times))
        back = Bridge(path, source, lambda like, latent=latent: latent)
        result = finish(sample(denoise, back, Implicit(), start_of(path), times))
        errors.append(float((result - target).abs().max()))
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2] and errors[2] < 0.05, errors


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_targets_of_gaussian_pairs_have_standard_noise(path):
    pairs, source = GaussianPairs(path), torch.full((1, 1, 100, 100), 0.4, dtype=torch.float64)
    mu, variance = pairs.target_given(source)
    target = mu + variance**0.5 * NoiseSource(0, ["x"])(source)
    times = LogSNR(gap=1e-3 * path.t_max, t_min=2e-3).times(path, 200)
    latent = finish(encode(pairs.denoise, path, target, source, times))
    assert abs(float(latent.mean())) < 0.12 and float(latent.std()) == pytest.approx(1, abs=0.06)
    assert float(torch.corrcoef(torch.stack([latent.flatten(), target.flatten()]))[0, 1]) > 0.999


@pytest.mark.parametrize("grid", [Karras(), Uniform()], ids=by_name)
@pytest.mark.parametrize("path", [VPBridge(), VE()], ids=by_name)
def test_encoding_takes_no_more_evaluations_than_decoding(path, grid):
    """Also on grids that end at 0, where there is no noise to start from."""
    blank, times = torch.zeros(1, 1, 2, 2, dtype=torch.float64), grid.times(path, 5)
    events = list(encode(denoise, path, blank, blank, times))
    assert [event.nfe for event in events] == list(range(1, len(events) + 1))
    assert len(events) <= count_evaluations(path, Implicit(), start_of(path), times)
    assert finish(encode(denoise, path, blank, blank, times)).isfinite().all()


def test_a_path_without_noise_cannot_encode():
    blank = torch.zeros(1, 1, 2, 2)
    with pytest.raises(UsageError, match="draws no noise"):
        encode(denoise, RectifiedFlow(), blank, blank, torch.linspace(1, 0, 5))


def test_interpolated_noise_is_standard_normal():
    ends = [NoiseSource(0, ["a", "b", "c"], draw) for draw in (0, 1)]
    like = torch.zeros(3, 1, 120, 120)
    between = Slerp(*(NoiseSource(0, ["a", "b", "c"], draw) for draw in (0, 1)), [0.0, 0.5, 1.0])(like)
    first, second = (end(like) for end in ends)
    assert torch.equal(between[0], first[0]) and torch.allclose(between[2], second[2], atol=1e-6)
    assert float(between[1].std()) == pytest.approx(1, abs=0.02)
    near = [float((between[1] - each[1]).square().mean()) for each in (first, second)]
    assert near == pytest.approx([2 - 2**0.5] * 2, rel=0.05)


def test_draws_may_differ_within_a_batch():
    like = torch.zeros(2, 1, 2, 2)
    mixed = NoiseSource(0, ["a", "a"], [0, 3])(like)
    for place, draw in enumerate((0, 3)):
        assert torch.equal(mixed[place], NoiseSource(0, ["a"], draw)(like[:1])[0])


@pytest.mark.parametrize(
    ("sampler", "start", "draws"),
    [
        (Implicit(), Booted(), 1),
        (HybridHeun(churn=0.0), Pinned(), 0),
        (HybridHeun(churn=0.3), Pinned(), 3),
        (EulerMaruyama(), Pinned(), 2),
    ],
    ids=str,
)
def test_a_plan_counts_its_draws(sampler, start, draws):
    assert Plan(path=VPBridge(), sampler=sampler, grid=Karras(), start=start, steps=3).draws == draws
