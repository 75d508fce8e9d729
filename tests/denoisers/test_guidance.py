"""Guidance on two conditions: its formula, its work, and what scales do to pictures whose law is known."""

from itertools import pairwise

import pytest
import torch

from ddbm_cli.denoisers import PLAIN, Conditions, Guidance, dropped, guided
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import TranslationModel, assemble
from ddbm_cli.models.labels import class_of, label_of
from ddbm_cli.paths import VE, VPBridge
from ddbm_cli.samplers import Booted, Bridge, Implicit, NoiseSource, Prior, Uniform, finish, sample
from tests.tiny import NETWORK, tiny_card, tiny_weights

CLASSES = ("cat", "dog", "fox")


def model(*, sees_source=True, classes=CLASSES):
    network = NETWORK | ({"classes": len(classes)} if classes else {}) | ({} if sees_source else {"in_channels": 3})
    path = {"path": {"name": "ve"}} if not sees_source else {}
    card = tiny_card(
        network=network,
        kind="bridge" if sees_source else "prior",
        concat_source=sees_source,
        class_names=classes,
        condition_dropout=0.05,
        clip=False,
        **path,
    )
    denoiser = assemble(card).eval().requires_grad_(False)
    denoiser.network.load_state_dict(tiny_weights(card))
    return TranslationModel(card, denoiser)


def batch(count=4):
    x, source = torch.randn(2, count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor(0.4, dtype=torch.float64), source, torch.tensor([0, 2, 1, 0])[:count]


class Spy:
    """A denoiser that is counted."""

    def __init__(self, denoiser):
        self.denoiser, self.sees_source, self.batches = denoiser, denoiser.sees_source, []

    def __call__(self, x, t, source, conditions):
        self.batches.append(len(x))
        return self.denoiser(x, t, source, conditions)


def test_it_is_the_formula():
    denoiser, (x, t, source, label) = model().denoiser, batch()
    nothing = Conditions(torch.full_like(label, -1), torch.zeros(4, dtype=torch.bool))
    image_only = Conditions(torch.full_like(label, -1))
    neither, image, both = (denoiser(x, t, source, told) for told in (nothing, image_only, Conditions(label)))
    assert not torch.allclose(neither, image, atol=1e-3) and not torch.allclose(image, both, atol=1e-3)
    got = guided(denoiser, label, Guidance(image=1.5, label=4.0))(x, t, source)
    assert torch.allclose(got, neither + 1.5 * (image - neither) + 4.0 * (both - image), atol=1e-4)
    times = t.expand(4)
    assert torch.allclose(guided(denoiser, label, Guidance(image=1.5, label=4.0))(x, times, source), got, atol=1e-5)


def test_with_both_scales_at_1_it_is_the_conditional_estimate():
    denoiser, (x, t, source, label) = model().denoiser, batch()
    assert torch.equal(guided(denoiser, label, PLAIN)(x, t, source), denoiser(x, t, source, Conditions(label)))
    assert guided(denoiser, None, PLAIN) is denoiser


@pytest.mark.parametrize(
    ("image", "label", "estimates"), [(1, 1, 1), (1.5, 4, 3), (1, 4, 2), (3, 3, 2), (2, 1, 3), (0, 0, 1), (0, 2, 3)]
)
def test_the_estimates_it_needs_are_one_call(image, label, estimates):
    x, t, source, labels = batch()
    spy = Spy(model().denoiser)
    guided(spy, labels, Guidance(image=image, label=label))(x, t, source)
    assert spy.batches == [4 * estimates]


def test_with_one_condition_it_is_classifier_free_guidance():
    x, t, source, label = batch()
    prior = model(sees_source=False).denoiser
    plain, told = prior(x, t, source), prior(x, t, source, Conditions(label))
    got = guided(prior, label, Guidance(image=5.0, label=3.0))(x, t, source)
    assert torch.allclose(got, plain + 3 * (told - plain), atol=1e-4), "a prior has no source to exaggerate"
    bridge = model(classes=()).denoiser
    blind, seen = bridge(x, t, source, Conditions(use_source=torch.zeros(4, dtype=torch.bool))), bridge(x, t, source)
    got = guided(bridge, None, Guidance(image=3.0, label=7.0))(x, t, source)
    assert torch.allclose(got, blind + 3 * (seen - blind), atol=1e-4)


def test_a_label_of_minus_1_is_no_condition():
    prior, (x, t, source, label) = model(sees_source=False).denoiser, batch()
    assert torch.allclose(prior(x, t, source, Conditions(torch.full_like(label, -1))), prior(x, t, source), atol=1e-5)
    mixed = prior(x, t, source, Conditions(torch.tensor([0, -1, 1, -1])))
    assert torch.allclose(mixed[1::2], prior(x, t, source)[1::2], atol=1e-5)
    assert not torch.allclose(mixed[::2], prior(x, t, source)[::2], atol=1e-3)


class Mixture:
    """The exact denoiser of two classes of pictures N(+-1, 0.3^2), which also leans towards its source by 0.5."""

    sees_source = True

    def __init__(self, path):
        self.path = path

    def __call__(self, x, t, source, conditions):
        a, b, c = self.path.coefficients(t)
        b = b.clamp(min=1e-9)  # at the source's end the state says nothing
        state = (x - a * source) / b  # what is left when the source is taken off: x_0 and noise
        level = (c.clamp(min=1e-3) / b) ** 2
        shift = 0.5 * conditions.source_input(source)
        gain = 0.09 / (0.09 + level)
        means = torch.stack([-1 + shift, 1 + shift])
        estimates = means + gain * (state - means)
        odds = (-((state - means) ** 2) / (2 * (0.09 + level))).softmax(0)
        told = torch.nn.functional.one_hot(conditions.label.clamp(min=0), 2).T.view(2, -1, 1, 1, 1).double()
        weights = torch.where((conditions.label >= 0).view(-1, 1, 1, 1), told, odds)
        return (weights * estimates).sum(0)


def distances(path, start, scales):
    """How far pictures are moved from those of scale 1, for each pair of scales."""
    source = torch.full((2, 1, 4, 4), 0.4, dtype=torch.float64)
    label = torch.tensor([0, 1])
    made = []
    for image, strength in [(1, 1), *scales]:
        denoise = guided(Mixture(path), label, Guidance(image=image, label=strength))
        bridge = Bridge(path, source, NoiseSource(0, ["a", "b"]))
        made.append(finish(sample(denoise, bridge, Implicit(), start, Uniform().times(path, 20))))
    assert (made[0][0] < 0).all() and (made[0][1] > 0).all(), "each class is where it belongs"
    return [float((picture - made[0]).abs().mean()) for picture in made[1:]]


@pytest.mark.parametrize(("path", "start"), [(VE(), Prior()), (VPBridge(), Booted())], ids=["prior", "bridge"])
@pytest.mark.parametrize("which", ["image", "label"])
def test_a_larger_scale_moves_the_image_further(path, start, which):
    ladder = (1.5, 2.0, 3.0, 5.0)
    moved = distances(path, start, [(scale, 1.0) if which == "image" else (1.0, scale) for scale in ladder])
    assert moved[0] > 1e-4 and all(more > less for less, more in pairwise(moved))


def test_conditions_are_left_out_by_shares():
    u = (torch.arange(1000) + 0.5) / 1000
    told = dropped(torch.ones(1000, dtype=torch.long), u, 0.05)
    without_source, without_label = ~told.use_source, told.label == -1
    assert (without_source & ~without_label).sum() == (without_label & ~without_source).sum() == 50
    assert (without_source & without_label).sum() == 50
    kept = dropped(torch.ones(1000, dtype=torch.long), u, 0.0)
    assert kept.use_source is None and (kept.label == 1).all()
    assert dropped(None, u, 0.05).label is None


def test_a_model_has_the_classes_of_its_card():
    named = model().card
    assert [label_of(named, name) for name in ("cat", "fox", "1")] == [0, 2, 1]
    assert [class_of(named, label) for label in (0, -1)] == ["cat", None]
    with pytest.raises(UsageError, match="has no class 'cow'") as caught:
        label_of(named, "cow")
    assert "cat, dog, fox" in caught.value.hint
    with pytest.raises(UsageError, match="no class '3'"):
        label_of(named, "3")
    with pytest.raises(UsageError, match="has no classes"):
        label_of(model(classes=()).card, "cat")
