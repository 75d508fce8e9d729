"""Perturbed guidance: its formula, its limits, one batch per evaluation, and its place in the command."""

import dataclasses

import pytest
import torch

from ddbm_cli.denoisers import PERTURBATIONS, Guidance, perturbed
from ddbm_cli.denoisers.perturbed import BlurPerturbation, NoisePerturbation, PoolPerturbation
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.methods.conditions import guidance_of
from ddbm_cli.models import load_model
from ddbm_cli.options.groups import ConditionOptions
from ddbm_cli.options.names import check_spec
from ddbm_cli.paths import VE, VPBridge
from ddbm_cli.samplers import NoiseSource, finish
from tests.tiny import write_tiny

KINDS = [kind() for kind in PERTURBATIONS.values()]
T = torch.tensor(0.5, dtype=torch.float64)


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def denoise(x, t, source):
    return torch.tanh(0.7 * x + 0.2 * source)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_is_the_formula(kind):
    x, source = random(2, 2, 3, 8, 8)
    noise = random(2, 3, 8, 8) * 0.5
    found = perturbed(denoise, VPBridge(), dataclasses.replace(kind, scale=2.5), lambda like: noise)(x, T, source)
    other = denoise(kind.apply(x, noise), T, source)
    assert torch.allclose(found, other + 2.5 * (denoise(x, T, source) - other), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("split", [False, True])
def test_a_scale_of_one_changes_nothing(kind, split):
    x, source = random(2, 2, 3, 8, 8)
    guided = perturbed(denoise, VPBridge(), dataclasses.replace(kind, scale=1.0, split=split), torch.ones_like)
    assert torch.allclose(guided(x, T, source), denoise(x, T, source), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_changes_the_result(kind):
    x, source = random(2, 2, 3, 9, 13)
    whole = perturbed(denoise, VPBridge(), kind, torch.ones_like)(x, T, source)
    assert whole.shape == x.shape
    for fields in ({"scale": 2.0}, {"split": True}, {"side": 4} if kind.name == "pool" else {"strength": 0.3}):
        other = perturbed(denoise, VPBridge(), dataclasses.replace(kind, **fields), torch.ones_like)(x, T, source)
        assert not torch.allclose(whole, other), fields


def test_the_split_guides_low_frequencies_in_the_middle_and_high_ones_at_the_ends():
    x, source = random(2, 1, 1, 8, 8)
    gaps = {}
    for path, times in ((VPBridge(), (0.001, 0.6, 0.999)), (VE(), (1e-4, 1.0, 79.9))):
        for time in times:
            t = torch.tensor(time, dtype=torch.float64)
            guided = perturbed(denoise, path, PoolPerturbation(scale=2.0, split=True, side=8), torch.ones_like)
            more = guided(x, t, source) - denoise(x, t, source)
            gaps[path.name, time] = float(more.mean().abs() / more.std())  # the mean is a low frequency
        first, middle, last = (gaps[path.name, time] for time in times)
        assert middle > 3 * first and middle > 3 * last, gaps


def test_blur_and_pool_keep_the_mean_of_a_constant():
    x = torch.full((1, 3, 7, 5), 0.3)
    for kind in (BlurPerturbation(strength=9.0), PoolPerturbation(side=4)):
        assert torch.allclose(kind.apply(x, None), x, atol=1e-6)


def test_both_estimates_are_one_call_of_twice_the_batch():
    calls = []
    counted = lambda x, t, source: calls.append(len(x)) or denoise(x, t, source)  # noqa: E731
    x, source = random(2, 3, 3, 8, 8)
    times = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    found = perturbed(counted, VPBridge(), NoisePerturbation(split=True), torch.ones_like)(x, times, source)
    alone = perturbed(denoise, VPBridge(), NoisePerturbation(split=True), torch.ones_like)
    assert calls == [6]
    for row in range(3):
        assert torch.allclose(
            found[row : row + 1], alone(x[row : row + 1], times[row], source[row : row + 1]), atol=1e-6
        )


def test_a_model_is_guided_and_images_do_not_depend_on_the_batch(tmp_path):
    model = load_model(write_tiny(tmp_path / "m.safetensors"), device="cpu")
    source, plan = random(3, 3, 16, 16).clamp(-1, 1), model.plan(nfe=4)
    guided = model.with_conditions(None, Guidance(perturbation=NoisePerturbation(scale=3.0)))
    whole = finish(guided.translate(source, NoiseSource(0, ["a", "b", "c"]), plan))
    one = finish(guided.translate(source[1:2], NoiseSource(0, ["b"]), plan))
    plain = finish(model.translate(source, NoiseSource(0, ["a", "b", "c"]), plan))
    assert torch.allclose(whole[1:2], one, atol=1e-5) and not torch.allclose(whole, plain, atol=1e-3)


def test_options_are_checked_and_become_guidance(tmp_path):
    model = load_model(write_tiny(tmp_path / "m.safetensors"), device="cpu")
    asked = ConditionOptions(perturbed_guidance="blur:scale=2,split=yes")
    assert guidance_of(asked, model).perturbation == BlurPerturbation(scale=2.0, split=True)
    for spec in ("fog", "noise:scale=-1", "noise:strength=0", "pool:side=1", "noise:x=1"):
        with pytest.raises(UsageError):
            check_spec("perturbations", spec)
        with pytest.raises(UsageError):
            build(PERTURBATIONS, spec, what="perturbation")
