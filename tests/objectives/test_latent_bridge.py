"""Latent bridge matching, and the denoising loss with its perceptual term and its critic: losses and steps that are
computed by hand, and a run with the preset."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Denoiser, DriftPrediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import load_model
from ddbm_cli.objectives import Context, Denoising, DiscreteTimes, LatentBridgeMatching, denoising, latent_bridge
from ddbm_cli.objectives.adversarial import Critic
from ddbm_cli.paths import BrownianBridge
from ddbm_cli.samplers import LBM, Bridge, Pinned, Uniform, finish, sample
from ddbm_cli.tasks.train import request, run, validation
from tests.tiny import write_pairs

PATH = BrownianBridge(variance=0.005**2 / 2)


class Constant(nn.Module):
    """A network that outputs one number."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, time):
        return self.value.expand_as(x[:, :3])


class Eightfold(Codec):
    """Latents are every eighth pixel; what is decoded is remembered."""

    channels, factor = 3, 8

    def __init__(self):
        super().__init__()
        self.decoded = []

    def encode_image(self, image):
        return image[..., ::8, ::8]

    def decode_image(self, latents):
        self.decoded.append(latents)
        return latents.repeat_interleave(8, -1).repeat_interleave(8, -2)


@pytest.fixture
def absolute(monkeypatch):
    """Use the mean absolute difference in place of the perceptual distance."""
    distance = lambda images, others: (images - others).abs().flatten(1).mean(1)  # noqa: E731
    for module in (denoising, latent_bridge):
        monkeypatch.setattr(module, "load_perceptual_distance", lambda device, objective: distance)


def loss_of(objective, codec, shape=(1, 3, 8, 8), sees_source=False):
    denoiser = Denoiser(Constant(1.0), PATH, DriftPrediction(), sees_source=sees_source)
    loss = objective.create(Context(device=torch.device("cpu"), codec=codec))
    target, source, eps = torch.full(shape, 0.5), torch.full(shape, 2.0), torch.ones(shape)
    return loss(denoiser, target, source, torch.full((shape[0],), 0.5, dtype=torch.float64), eps)


@pytest.mark.parametrize(("weight", "wanted"), [(0, 0.25), (2, 0.25 + 2 * 0.2525), (10, 0.25 + 10 * 0.2525)])
def test_the_loss_is_that_of_the_paper(absolute, weight, wanted):
    """z = .5 * 2 + .5 * .5 + .005 * .5 = 1.2525; v = 1, so the estimate is .7525, and v should be 1.5."""
    loss = loss_of(LatentBridgeMatching(perceptual=weight), Eightfold())
    assert float(loss.detach()) == pytest.approx(wanted, abs=1e-5) and LatentBridgeMatching().perceptual == 10


@pytest.mark.parametrize("time", [0.25, 0.5, 0.999])
@pytest.mark.parametrize(("by_signal", "sees_source"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_denoising_loss_gets_a_perceptual_term(absolute, time, by_signal, sees_source):
    """a = t, b = 1 - t, and v = 1, so the estimate is a 2 + b .5 + c - a; the target is .5."""
    denoiser = Denoiser(Constant(1.0), PATH, DriftPrediction(), sees_source=sees_source)
    t, c = torch.tensor([time], dtype=torch.float64), 0.005 * (time * (1 - time)) ** 0.5
    target, source, eps = (torch.full((1, 3, 8, 8), value) for value in (0.5, 2.0, 1.0))
    losses = []
    for weight in (0, 2):
        context = Context(device=torch.device("cpu"), codec=Eightfold())
        loss = Denoising(perceptual=weight, by_signal=by_signal).create(context)
        losses.append(float(loss(denoiser, target, source, t, eps).detach()))
    signal = (1 - time) ** 2 / ((1 - time) ** 2 + c**2 + (0 if sees_source else time**2)) if by_signal else 1
    distance = abs(2 * time + 0.5 * (1 - time) + c - time - 0.5)
    assert losses[1] - losses[0] == pytest.approx(2 * signal * distance, abs=1e-5)


@pytest.mark.parametrize("clip", [False, True])
def test_clipped_estimates_beyond_white_have_no_error_and_no_derivative(clip):
    """v = -1.5, so the estimate of an image that is white, from a white source, is 1.75."""
    denoiser = Denoiser(Constant(-1.5), PATH, DriftPrediction(), sees_source=False)
    loss = Denoising(clip=clip).create(Context(device=torch.device("cpu")))
    half, white, none = torch.full((1,), 0.5, dtype=torch.float64), torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    found = loss(denoiser, white, white, half, none)
    found.sum().backward()
    wanted = 0 if clip else 0.75**2 * float(denoising.error_weight(denoiser, half))
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)
    assert (float(denoiser.network.value.grad) == 0) == clip


@pytest.mark.parametrize("clip", [False, True])
def test_the_validation_of_a_run_clips_as_its_training_does(tmp_path, monkeypatch, clip):
    """In the validation, all targets are made white, and all estimates brighter than white."""
    losses = []

    def brighter(denoiser, *given, **settings):
        brightest = Denoiser(Constant(1.0), PATH, DriftPrediction(), sees_source=False)
        monkeypatch.setattr(brightest, "forward", lambda x, t, source, conditions: torch.full_like(x, 1.5))
        target, *others = given
        losses.append(denoising.denoising_loss(brightest, torch.ones_like(target), *others, **settings))
        return losses[-1]

    monkeypatch.setattr(validation, "denoising_loss", brighter)
    write_pairs(tmp_path / "pairs", 6, 32)
    body = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "val_share": 0.34, "device": "cpu", "size": 32}
    recipe = {"steps": 1, "batch_size": 2, "validate_every": 1}
    network = "adm:channels=16,multipliers=1,blocks=1,attention=1,head_channels=16"
    list(run(request(body | {"network": network, "objective": f"denoising:clip={clip}".lower(), "recipe": recipe})))
    assert losses and all(bool((loss == 0).all()) == clip for loss in losses)


KINDS = pytest.mark.parametrize("kind", [LatentBridgeMatching, partial(Denoising, perceptual=1.0)])


@KINDS
def test_a_part_of_the_images_is_decoded_with_derivatives(absolute, kind):
    codec = Eightfold()
    loss_of(kind(crop=32), codec, (2, 3, 8, 16)).sum().backward()
    made, wanted = codec.decoded
    assert made.shape == wanted.shape == (2, 3, 4, 4) and made.requires_grad and not wanted.requires_grad


@KINDS
def test_the_same_part_of_both(absolute, monkeypatch, kind):
    """The estimate is the target itself, which varies over the image: then only equal parts have no distance."""
    codec, target = Eightfold(), torch.rand(1, 3, 16, 16)
    loss = kind(crop=32).create(Context(device=torch.device("cpu"), codec=codec))
    denoiser = Denoiser(Constant(0.0), PATH, DriftPrediction(), sees_source=False)
    monkeypatch.setattr(denoiser, "forward", lambda x, t, source, conditions: target)
    half = torch.full((1,), 0.5, dtype=torch.float64)
    assert float(loss(denoiser, target, target, half, torch.zeros_like(target)).detach()) < 1e-8


def test_the_critic_is_taught_and_then_judges_the_decoded_estimate_with_its_source():
    context = Context(device=torch.device("cpu"), codec=Eightfold())
    denoiser = Denoiser(Constant(0.0), PATH, DriftPrediction(), sees_source=False)
    x0, source = torch.rand(2, 2, 3, 8, 8)
    half, eps = torch.full((2,), 0.5, dtype=torch.float64), torch.zeros(2, 3, 8, 8)
    plain = Denoising().create(context)(denoiser, x0, source, half, eps)
    loss = Denoising(critic=2.0, crop=64).create(context)
    alone = deepcopy(loss.modules["critic"])
    judged = loss(denoiser, x0, source, half, eps)
    critic = Critic(alone, rate=2e-4, reduce=lambda tensors: None)
    estimate = denoiser(PATH.training_state(x0, source, eps, half), half, source)
    made, real, origin = (context.codec.decode_image(state) for state in (estimate, x0, source))
    critic.teach(origin, real, made)
    assert torch.allclose(judged, plain + 2 * critic.loss(origin, made), atol=1e-6)
    judged.sum().backward()
    assert float(denoiser.network.value.grad) != 0 and all(each.grad is not None for each in alone.parameters())


@pytest.mark.parametrize("change", [{"rate": 0.1}, {"layers": 1}, {"critic": 1.0}, {"crop": 32}])
def test_each_setting_of_the_critic_changes_the_second_loss(change):
    def second(**settings):
        torch.manual_seed(0)
        loss = Denoising(**{"critic": 0.1, "crop": 64, **settings}).create(Context(device=torch.device("cpu")))
        denoiser = Denoiser(Constant(0.0), PATH, DriftPrediction(), sees_source=False)
        x0, source, eps = torch.rand(3, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        half = torch.full((2,), 0.5, dtype=torch.float64)
        return [loss(denoiser, x0, source, half, eps).detach() for _ in range(2)][1]

    assert not torch.equal(second(), second(**change))


def test_times_are_drawn_as_often_as_their_weights_state():
    u = (torch.arange(1000) + 0.5) / 1000
    times = DiscreteTimes(at=(0.25, 0.5, 0.75, 1.0), weights=(0.05, 0.1, 0.05, 0.8)).times(PATH, u)
    values, counts = times.unique(return_counts=True)
    assert torch.allclose(values, torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64), atol=1e-8)
    assert counts.tolist() == [50, 100, 50, 800]
    assert DiscreteTimes().times(PATH, u).unique(return_counts=True)[1].tolist() == [250] * 4
    with pytest.raises(UsageError, match="4 times and 1 weights"):
        DiscreteTimes(weights=(1.0,)).times(PATH, u)


def test_steps_are_those_of_the_paper():
    """z <- z + (s - t) v, then noise of sigma sqrt(s (1 - s)) but after the last step; v = 1 at all times."""
    denoiser = Denoiser(Constant(1.0), PATH, DriftPrediction(), sees_source=False)
    source, times = torch.full((1, 3, 2, 2), 2.0), Uniform(gap=0.0, t_min=0.0).times(PATH, 4)
    assert times.tolist() == [1, 0.75, 0.5, 0.25, 0]
    bridge = Bridge(PATH, source, lambda like: torch.full_like(like, 3.0))
    result = finish(sample(denoiser, bridge, LBM(), Pinned(), times))
    wanted = 2.0 - 1.0 + sum(3 * 0.005 * (s * (1 - s)) ** 0.5 for s in (0.75, 0.5, 0.25))
    assert torch.allclose(result, torch.full_like(result, wanted), atol=1e-6)


def test_a_run_with_the_preset(tmp_path):
    pytest.importorskip("diffusers")
    pytest.importorskip("stlpips_pytorch")
    from tests.pipelines import write_pipeline

    write_pairs(tmp_path / "pairs", 6, 32)
    start = write_pipeline(tmp_path / "sd")
    body = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "val_share": 0.34, "device": "cpu", "size": 32}
    recipe = {"steps": 2, "batch_size": 2, "validate_every": 2}
    list(run(request(body | {"start_from": f"diffusers:{start}", "recipe": recipe}, preset="lbm")))
    model = load_model(tmp_path / "run" / "model.safetensors", device="cpu")
    assert model.card.network["in_channels"] == 4 and not model.card.concat_source
    plan = model.plan()
    assert (plan.sampler.name, plan.nfe, plan.start.name, plan.times.tolist()) == ("lbm", 1, "pinned", [1.0, 0.0])
    assert model.plan(nfe=3).sampler.name == "lbm"
