"""Laws of the predictor-corrector sampler."""

import pytest
import torch

from ddbm_cli.paths import VE, VP, VEBridge, VPBridge
from ddbm_cli.samplers import Bridge, Implicit, Karras, NoiseSource, Plan, PredictorCorrector, Prior, finish, sample
from tests.exact import GaussianPairs
from tests.laws import Given

NAMES = [str(index) for index in range(4)]


def by_name(path):
    return path.name


@pytest.mark.parametrize("path", [VE(sigma_max=20.0), VP(), VPBridge(), VEBridge(sigma_max=3.0)], ids=by_name)
def test_corrections_mend_what_a_few_predictor_steps_did_wrong(path):
    """Mean and variance of the target of Gaussian pairs: close to the truth, and closer than without corrections."""
    pairs, source = GaussianPairs(path), torch.full((4, 1, 90, 90), 0.4, dtype=torch.float64)
    times = Karras(gap=0.02 * path.t_max, t_min=2e-3).times(path, 12)
    mean, std = pairs.marginal(times[0], source)
    begin = mean + 1.3 * std * NoiseSource(1, NAMES)(source)  # noise that is too strong
    mu, variance = pairs.target_given(source)
    errors = []
    for corrections in (0, 2, 4):
        sampler = PredictorCorrector(snr=0.2, corrections=corrections)
        bridge = Bridge(path, source, NoiseSource(0, NAMES))
        result = finish(sample(pairs.denoise, bridge, sampler, Given(begin), times))
        assert abs(float((result - mu).mean())) < 0.03
        errors.append(abs(float((result - mu).var()) / variance - 1))
    assert errors[0] > 0.3 and max(errors[1:]) < 0.06, errors


def test_a_correction_has_the_variance_of_discrete_langevin():
    """At one noise level of a Gaussian of variance s^2, many steps end at s^2 / (1 - snr^2): (1) written out."""
    path, pairs, snr = VP(), GaussianPairs(VP()), 0.3
    source = torch.zeros(4, 1, 60, 60, dtype=torch.float64)
    times = torch.tensor([0.5, 0.4999, 0.4998], dtype=torch.float64)
    mean, std = pairs.marginal(times[0], source)
    sampler = PredictorCorrector(snr=snr, corrections=60)
    begin = Given(mean + 2 * std * NoiseSource(0, NAMES)(source))
    result = finish(sample(pairs.denoise, Bridge(path, source, NoiseSource(1, NAMES)), sampler, begin, times))
    assert float((result - mean).var() / std**2) == pytest.approx(1 / (1 - snr**2), rel=0.03)


@pytest.mark.parametrize("corrections", [0, 1, 3])
def test_every_call_is_counted(corrections):
    calls = []
    plan = Plan(path=VE(), sampler=PredictorCorrector(corrections=corrections), grid=Karras(), start=Prior(), steps=5)
    bridge = Bridge(plan.path, torch.zeros(1, 1, 2, 2), NoiseSource(0, ["x"]))
    finish(sample(lambda x, t, s: calls.append(t) or 0.1 * x, bridge, plan.sampler, plan.start, plan.times))
    assert len(calls) == plan.nfe == 5 + 4 * corrections


def test_neighbours_do_not_count():
    times, model = Karras().times(VE(), 4), lambda x, t, s: torch.tanh(x)
    blank = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    both = finish(sample(model, Bridge(VE(), blank, NoiseSource(0, ["a", "b"])), PredictorCorrector(), Prior(), times))
    one = Bridge(VE(), blank[:1], NoiseSource(0, ["b"]))
    assert torch.allclose(both[1:], finish(sample(model, one, PredictorCorrector(), Prior(), times)), rtol=1e-12)


def test_without_corrections_it_is_the_predictor():
    times, blank = Karras().times(VE(), 4), torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    results = [
        finish(sample(lambda x, t, s: torch.tanh(x), Bridge(VE(), blank, NoiseSource(0, ["a"])), each, Prior(), times))
        for each in (PredictorCorrector(corrections=0), Implicit(eta=1.0))
    ]
    assert torch.equal(*results)
