"""The Schroedinger bridge between Gaussian distributions: its definition, its limits, and simulations of its drift."""

import itertools
import math

import pytest
import torch

from ddbm_cli.paths import BrownianBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.paths.gaussian import Gaussian, GaussianBridge, coupling_of, root_of, transport
from ddbm_cli.samplers import SAMPLERS, NoiseSource, Plan, finish, sample
from ddbm_cli.samplers.base import Bridge
from ddbm_cli.samplers.starts import Pinned
from ddbm_cli.samplers.times import Uniform

PATHS = {
    "brownian": BrownianBridge(variance=0.5),  # eps = 1
    "little noise": BrownianBridge(variance=0.02),
    "ve": VEBridge(sigma_max=2.0),
    "vp": VPBridge(),
}


def gaussian(seed: int, size: int = 3) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, dtype=torch.float64, generator=generator)
    mean = torch.randn(size, dtype=torch.float64, generator=generator)
    return Gaussian(mean, root @ root.T / size + 0.1 * torch.eye(size, dtype=torch.float64))


def bridge_on(path) -> GaussianBridge:
    return GaussianBridge(path, target=gaussian(1), source=gaussian(2))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_joint_precision_has_the_reference_off_its_diagonal(path):
    bridge = bridge_on(path)
    size = len(bridge.target.mean)
    precision = torch.linalg.inv(bridge.joint.covariance)
    wanted = -torch.eye(size, dtype=torch.float64) / bridge.epsilon
    torch.testing.assert_close(precision[:size, size:], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_both_forms_of_the_coupling_agree(path):
    """The paper's form, with the inverse root of S_0."""
    bridge = bridge_on(path)
    first, second, eps = bridge.target.covariance, bridge.source.covariance, bridge.epsilon
    root, inverse, one = root_of(first), root_of(first, inverse=True), torch.eye(3, dtype=torch.float64)
    inner = root_of(4 * root @ second @ root + eps**2 * one)
    torch.testing.assert_close(bridge.coupling, (root @ inner @ inverse - eps * one) / 2, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_bridge_is_the_same_from_the_other_side(path):
    bridge = bridge_on(path)
    torch.testing.assert_close(bridge.backward().coupling, bridge.coupling.T)


def test_the_standard_test_has_the_covariance_of_the_table():
    """DSBM's Gaussian test (arXiv:2303.16852): N(-0.1, I) to N(0.1, I) with variance 1 has (sqrt 5 - 1) / 2."""
    one = torch.eye(5, dtype=torch.float64)
    ends = Gaussian(torch.full((5,), -0.1).double(), one), Gaussian(torch.full((5,), 0.1).double(), one)
    bridge = GaussianBridge(BrownianBridge(variance=0.5), *ends)
    assert bridge.epsilon == pytest.approx(1)
    torch.testing.assert_close(bridge.coupling, (math.sqrt(5) - 1) / 2 * one)


@pytest.mark.parametrize("path", [*PATHS.values(), RectifiedFlow()], ids=[*PATHS, "rectified"])
def test_estimates_are_regressions_on_the_state(path):
    """Samples of (x_0, x_T, noise), by definition of the path, give the same regressions."""
    bridge, t = bridge_on(path), torch.tensor(0.4 * path.t_max, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    both = bridge.joint.draw(200_000, generator)
    x0, source = both[:, :3], both[:, 3:]
    a, b, c = path.coefficients(t)
    x = a * source + b * x0 + c * torch.randn(x0.shape, dtype=torch.float64, generator=generator)
    found, wanted = Gaussian.of(x), bridge.marginal(t)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(found.covariance, wanted.covariance, rtol=0, atol=0.04)
    for end, estimate in ((x0, bridge.estimate), (source, bridge.estimate_source)):
        rest = end - estimate(x, t)
        assert rest.mean(0).abs().max() < 0.02
        assert ((x - x.mean(0)).T @ rest / len(x)).abs().max() < 0.02, "what is left does not depend on the state"


def test_without_noise_it_is_the_bures_map():
    linalg = pytest.importorskip("scipy.linalg")
    source, target = gaussian(1), gaussian(2)
    first, second = source.covariance.numpy(), target.covariance.numpy()
    root = linalg.sqrtm(first)
    inverse = linalg.inv(root)
    wanted = torch.from_numpy((inverse @ linalg.sqrtm(root @ second @ root) @ inverse).real)
    found = transport(source, target)
    torch.testing.assert_close(found.matrix, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(coupling_of(source.covariance, target.covariance), source.covariance @ wanted)
    little = coupling_of(source.covariance, target.covariance, 1e-6)
    torch.testing.assert_close(little, source.covariance @ wanted, rtol=0, atol=1e-5)


def test_the_map_is_the_symmetric_positive_one_between_the_covariances():
    """A S A = S' with A symmetric and positive has one solution, the Bures map."""
    source, target = gaussian(1), gaussian(2)
    matrix = transport(source, target).matrix
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    torch.testing.assert_close(matrix @ source.covariance @ matrix, target.covariance)


def test_transport_reaches_mean_and_covariance_exactly():
    source, target = gaussian(1), gaussian(2)
    points = source.draw(1000, torch.Generator().manual_seed(0))
    moved = Gaussian.of(transport(Gaussian.of(points), target)(points))
    torch.testing.assert_close(moved.mean, target.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.covariance, target.covariance, rtol=0, atol=1e-12)


def test_a_source_that_varies_in_one_direction_only_is_finite():
    line = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    flat = Gaussian(torch.zeros(3, dtype=torch.float64), line.outer(line))
    for epsilon in (0.0, 0.5):
        assert coupling_of(flat.covariance, gaussian(1).covariance, epsilon).isfinite().all()
    moved = transport(flat, gaussian(1))(flat.draw(100))
    assert moved.isfinite().all() and torch.linalg.matrix_rank(moved - moved.mean(0), atol=1e-9) == 1


STEPS, ERROR = 400, 0.015
"""Steps of the simulation, and its largest error, of covariances with entries up to 2; measured: 0.0132."""


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("way", ["there", "back"])
def test_simulating_the_drift_reproduces_both_ends_and_the_coupling(path, way):
    """Euler-Maruyama of a linear drift is linear, so that its moments follow without samples.

    The error is that of `STEPS` steps.
    """
    bridge = bridge_on(path) if way == "there" else bridge_on(path).backward()
    size, one = 3, torch.eye(3, dtype=torch.float64)
    # The state and the source it began at, as functions of the source: moments of both, and their covariance.
    mean, covariance = bridge.source.mean.clone(), bridge.source.covariance.clone()
    cross = bridge.source.covariance.clone()
    # Uniform in the share of noise: in this clock all paths are one Brownian bridge.
    whole = torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1] * path.t_max
    a, b, _ = path.coefficients(whole)
    share = b / (a * path.alpha_T + b)
    places = torch.searchsorted(share.flip(0), torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)[1:-1])
    times = whole.flip(0)[places.clamp(max=len(whole) - 1)]
    times = torch.cat([torch.tensor([path.t_max * (1 - 1e-6)]).double(), times, torch.tensor([1e-6]).double()])
    for t, s in itertools.pairwise(times):
        shift, *rows = bridge.drift(torch.cat([torch.zeros(1, size, dtype=torch.float64), one]), t)
        slope = (torch.stack(rows) - shift).T
        move = one + (s - t) * slope
        mean = move @ mean + (s - t) * shift
        covariance = move @ covariance @ move.T + path.diffusion_squared(t) * (t - s) * one
        cross = move @ cross
    assert (mean - bridge.target.mean).abs().max() < ERROR
    assert (covariance - bridge.target.covariance).abs().max() < ERROR
    assert (cross - bridge.coupling).abs().max() < ERROR


@pytest.mark.parametrize("sampler", ["euler-maruyama", "implicit"])
def test_samplers_with_the_exact_estimate_reproduce_the_bridge(sampler):
    """20,000 samples; measured: 0.006 of the means, 0.032 of the covariances."""
    path = BrownianBridge(variance=0.5)
    bridge, number = bridge_on(path), 20_000
    source = bridge.source.draw(number, torch.Generator().manual_seed(0))
    setting = {"eta": 1.0} if sampler == "implicit" else {}
    plan = Plan(path=path, sampler=SAMPLERS[sampler](**setting), grid=Uniform(), start=Pinned(), steps=100)
    noise = NoiseSource(0, ["all"])
    whole = Bridge(path, source.view(number, 3, 1, 1), lambda like: noise(like.view(1, 3, number, 1)).view(like.shape))
    made = finish(sample(bridge.denoise, whole, plan.sampler, plan.start, plan.times)).view(number, 3)
    found = Gaussian.of(torch.cat([made, source], 1))
    wanted = bridge.joint
    error = (found.covariance - wanted.covariance).abs().max()
    assert (found.mean - wanted.mean).abs().max() < 0.05
    assert error < 0.04
