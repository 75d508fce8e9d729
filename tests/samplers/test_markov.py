"""Sampling of Markov processes: which steps use the source, and what a chain keeps of an exact covariance."""

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import BrownianBridge, I2SBBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.paths.gaussian import Gaussian, GaussianBridge
from ddbm_cli.samplers import (
    Bridge,
    Euler,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Multistep,
    Pinned,
    Plan,
    Uniform,
    finish,
    sample,
    without_source,
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
        without_source(plan(path, Implicit(eta=0.0)), "mine")


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
