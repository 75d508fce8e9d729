"""Laws of SDEdit's masks and repeats."""

import pytest
import torch

from ddbm_cli.foundation.settings import spell
from ddbm_cli.paths import PATHS as PATH_REGISTRY
from ddbm_cli.paths import VE, VP
from ddbm_cli.samplers import SAMPLERS as REGISTRY
from ddbm_cli.samplers import (
    Bridge,
    HybridHeun,
    Implicit,
    Karras,
    NoisedStart,
    NoiseSource,
    Plan,
    finish,
    sample,
)
from tests.laws import variants
from tests.samplers.test_priors import Mixture

SAMPLERS = [HybridHeun(churn=0.0), *(each for each in variants(REGISTRY) if each != HybridHeun(churn=0.0))]
PATHS = [kind() for kind in PATH_REGISTRY.values() if kind.source_free]


def by_name(value):
    return value.name


def edit(denoise, path, guide, mask=None, sampler=SAMPLERS[0], steps=6, **start):
    plan = Plan(path=path, sampler=sampler, grid=Karras(), start=NoisedStart(**start), steps=steps)
    states = []
    course = sample(denoise, Bridge(path, guide, NoiseSource(0, ["x"]), mask), plan.sampler, plan.start, plan.times)
    while True:
        try:
            states.append(next(course))
        except StopIteration as stop:
            assert len(states) == plan.nfe
            return stop.value, states


def guide_and_mask(side=12):
    random = torch.Generator().manual_seed(0)
    guide = torch.rand(1, 3, side, side, dtype=torch.float64, generator=random) * 2 - 1
    mask = torch.zeros(1, 1, side, side)
    mask[..., 3:9, 2:7] = 1
    return guide, mask


@pytest.mark.parametrize("sampler", SAMPLERS, ids=spell)
@pytest.mark.parametrize("path", PATHS, ids=by_name)
@pytest.mark.parametrize("repeats", [1, 2])
def test_outside_the_mask_is_the_guide(path, sampler, repeats):
    """To the last bit; and inside it is not."""
    guide, mask = guide_and_mask()
    result, _ = edit(Mixture(path).denoise, path, guide, mask, sampler, strength=0.6, repeats=repeats)
    outside = (mask == 0).expand_as(guide)
    assert torch.equal(result[outside], guide[outside])
    assert float((result - guide)[~outside].abs().mean()) > 0.1


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_the_outside_of_every_state_is_the_guide_with_its_first_noise(path):
    guide, mask = guide_and_mask()
    _, states = edit(Mixture(path).denoise, path, guide, mask, Implicit(), strength=0.6)
    noises = []
    for state in states:
        _, b, c = path.coefficients(torch.tensor(state.t, dtype=torch.float64))
        noises.append(((state.x - b * guide) / c)[(mask == 0).expand_as(guide)])
    assert all(torch.allclose(noise, noises[0], rtol=1e-6, atol=1e-6) for noise in noises)
    assert float(noises[0].std()) == pytest.approx(1, abs=0.1)


def test_the_inside_depends_on_the_outside():
    """A model of images of one colour: the masked area gets the colour around it."""
    path, guide = VE(sigma_max=20.0), torch.full((1, 3, 12, 12), 0.8, dtype=torch.float64)
    _, mask = guide_and_mask()
    guide[(mask > 0).expand_as(guide)] = -0.8

    def denoise(x, t, source):
        return x.mean((2, 3), keepdim=True).expand_as(x)

    free, _ = edit(denoise, path, guide, strength=0.6, steps=20)
    held, _ = edit(denoise, path, guide, mask, strength=0.6, steps=20)
    inside = (mask > 0).expand_as(guide)
    assert float((held - 0.8)[inside].abs().mean()) < float((free - 0.8)[inside].abs().mean())
    assert not torch.equal(free, held)


def test_a_mask_of_ones_changes_nothing():
    guide, mask = guide_and_mask()
    free, _ = edit(Mixture(VP()).denoise, VP(), guide, strength=0.5)
    held, _ = edit(Mixture(VP()).denoise, VP(), guide, torch.ones_like(mask), strength=0.5)
    assert torch.equal(free, held)


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_repeats_begin_at_the_last_result(path):
    """Two repeats are one, and another one with the noise that follows."""
    guide, _ = guide_and_mask()
    twice, states = edit(Mixture(path).denoise, path, guide, strength=0.4, repeats=2)
    noise, result = NoiseSource(0, ["x"]), guide
    plan = Plan(path=path, sampler=SAMPLERS[0], grid=Karras(), start=NoisedStart(strength=0.4), steps=6)
    for _ in range(2):
        bridge = Bridge(path, result, noise)
        result = finish(sample(Mixture(path).denoise, bridge, plan.sampler, plan.start, plan.times))
    assert torch.equal(twice, result) and len(states) == 2 * plan.nfe
