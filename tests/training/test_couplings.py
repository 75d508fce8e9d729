"""Couplings of two sets: first pairs, rounds, and what their training converges to between Gaussian sets."""

import itertools

import pytest
import torch

from ddbm_cli.denoisers import Conditions
from ddbm_cli.paths import BrownianBridge, VEBridge, VPBridge
from ddbm_cli.paths.gaussian import Gaussian, GaussianBridge
from ddbm_cli.training.batches import Batch, generator
from ddbm_cli.training.couplings import Couplings, Rounds, Simulation
from ddbm_cli.training.first_couplings import (
    COUPLINGS,
    Draws,
    FromReference,
    Independent,
    OptimalTransport,
    entropic_plan,
)
from ddbm_cli.training.sides import TwoSides, directions
from tests.points import Points, plan_on, trained

PATH = BrownianBridge(variance=0.5)
PATHS = [PATH, VPBridge(), VEBridge(sigma_max=1.0, sigma_min=0.01)]


def batch_of(size, seed=0, dimension=3):
    random = torch.Generator().manual_seed(seed)
    target, source, eps = torch.randn(3, size, dimension, 1, 1, generator=random)
    return Batch(target, source, torch.rand(size, generator=random), eps, Conditions(directions(size)))


def ends(batch):
    """The images of A and of B, row by row."""
    to_b = (batch.conditions.label == 0).view(-1, 1, 1, 1)
    return torch.where(to_b, batch.source, batch.target), torch.where(to_b, batch.target, batch.source)


def cost(batch):
    first, second = ends(batch)
    return float((first - second).square().sum())


def draws(size, seed=0):
    return Draws(torch.Generator().manual_seed(seed), size, slice(0, size))


def test_exact_transport_has_the_least_cost_of_all_assignments():
    pytest.importorskip("scipy")
    batch = batch_of(6)
    made = OptimalTransport()(PATH, batch, draws(6))
    first, second = ends(batch)
    every = (float((first - second[list(order)]).square().sum()) for order in itertools.permutations(range(6)))
    assert cost(made) == pytest.approx(min(every), rel=1e-5) and cost(made) < cost(batch)
    kept = ends(made)
    assert torch.equal(kept[0], first)
    assert sorted(kept[1].flatten().tolist()) == sorted(second.flatten().tolist())


def test_an_entropic_plan_has_both_marginals_and_nears_its_limits():
    distances = torch.cdist(*torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(1)).double()).square()
    plan = entropic_plan(distances, 0.5)
    for dimension in (0, 1):
        assert torch.allclose(plan.sum(dimension), torch.ones(7).double(), atol=1e-3)
    assert torch.allclose(entropic_plan(distances, 1e6), torch.full((7, 7), 1 / 7).double(), atol=1e-4)
    pytest.importorskip("scipy")
    from scipy.optimize import linear_sum_assignment

    least = float(distances[linear_sum_assignment(distances.numpy())].sum())
    costs = [float((entropic_plan(distances, entropy) * distances).sum()) for entropy in (0.1, 1.0, 10.0)]
    assert least * 0.99 < costs[0] < least * 1.05 and costs[0] < costs[1] < costs[2]


def test_pairs_of_an_entropic_plan_cost_less_than_independent_ones():
    batch = batch_of(64)
    assert cost(OptimalTransport(entropy=1.0)(PATH, batch, draws(64))) < 0.7 * cost(batch)


@pytest.mark.parametrize("path", [PATH, VPBridge()])
def test_the_reference_coupling_is_the_end_of_the_reference(path):
    batch = batch_of(20_000, dimension=1)
    source = FromReference()(path, batch, draws(20_000)).source
    rest = source - path.alpha_T * batch.target
    assert float(rest.mean()) == pytest.approx(0, abs=0.03 * path.sigma_T)
    assert float(rest.std()) == pytest.approx(path.sigma_T, rel=0.02)


def test_rounds():
    rounds = Rounds(first=6, each=5, batches=2)
    assert [rounds.begin(step) for step in (0, 5, 6, 10, 11, 16)] == [0, 0, 6, 6, 11, 16]
    assert [rounds.number(step) for step in (0, 5, 6, 10, 11, 16)] == [0, 0, 1, 1, 2, 3]
    assert [rounds.place(step) for step in (6, 7, 8, 11)] == [0, 1, 0, 0]


def streams(first, rows, folder=None):
    from ddbm_cli.denoisers import PREDICTIONS, Denoiser
    from ddbm_cli.networks import Directed
    from tests.points import MLP

    torch.manual_seed(0)
    networks = {name: MLP(3, width=8) for name in ("AtoB", "BtoA")}
    denoiser = Denoiser(Directed(networks), PATH, PREDICTIONS["x0"](), sees_source=False)
    sets = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(2))
    sides = TwoSides(*(Points(each, size=8, seed=side) for side, each in enumerate(sets)))
    simulation = Simulation(denoiser, plan_on(PATH, 3), clip=False)
    made = Couplings(sides, simulation, first, Rounds(2, 2, 1), files=None, size=8, seed=0)
    made.rows = rows
    return made


@pytest.mark.parametrize("first", [Independent(), FromReference(), OptimalTransport(entropy=1.0)], ids=lambda f: f.name)
@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_processes_have_the_rows_of_the_whole(first, step):
    whole = streams(first, slice(0, 8))[step]
    parts = [streams(first, slice(begin, begin + 4))[step] for begin in (0, 4)]
    for name in ("target", "source", "u", "eps"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.allclose(joined, getattr(whole, name), atol=1e-6), name


def test_rows_are_simulated_by_the_other_direction():
    """The target of a row is a true point, and its source the end of a trajectory of the other direction from it."""
    made = streams(Independent(), slice(0, 8))
    batch, independent = made[2], made.sides[2]
    assert torch.equal(batch.target, independent.target) and not torch.equal(batch.source, independent.source)
    own = Draws(generator(0, "simulation", 1, 2, 0), 4, slice(0, 4))
    assert torch.allclose(batch.source[0::2], made._simulation(batch.target[0::2], 1, own))


@pytest.mark.parametrize(
    "path", [PATH, VPBridge(), VEBridge(sigma_max=1.0, sigma_min=0.01)], ids=lambda path: path.name
)
def test_a_mirrored_time_exchanges_source_and_target(path):
    t = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64) * path.t_max
    (a, b, c), (a_there, b_there, c_there) = path.coefficients(t), path.coefficients(path.mirrored(t))
    assert torch.allclose(a / c, b_there / c_there) and torch.allclose(b / c, a_there / c_there)
    ends = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    assert path.mirrored(ends).tolist() == [path.t_max, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "matching"), [("independent", "bridge"), ("reference", "bridge"), ("", "mean")])
def test_training_converges_to_the_closed_form(tmp_path, first, matching):
    random = torch.Generator().manual_seed(0)
    sides = [Gaussian(torch.tensor([mean, 0.0]).double(), torch.tensor(cov).double()) for mean, cov in SIDES]
    sets = [side.draw(4000, random).float() for side in sides]
    rounds = Rounds(first=500, each=250, batches=16)
    made = trained(
        sets,
        PATH,
        tmp_path,
        rounds=rounds,
        steps=2500,
        size=256,
        width=64,
        matching=matching,
        first=COUPLINGS[first]() if first else None,
    )
    exact = GaussianBridge(PATH, target=sides[0], source=sides[1])
    source = sides[1].draw(4000, random).float()
    result = made(source[:, :, None, None], 1, draws(4000))[:, :, 0, 0]
    found = Gaussian.of(torch.cat([result, source], 1))
    assert torch.allclose(found.mean[:2], sides[0].mean, atol=0.1)
    assert torch.allclose(found.covariance[:2, :2], sides[0].covariance, atol=0.15)
    assert torch.allclose(found.covariance[:2, 2:], exact.coupling, atol=0.12)


SIDES = [(-0.5, [[1.0, 0.3], [0.3, 0.8]]), (0.5, [[0.7, -0.2], [-0.2, 1.1]])]
