"""pix2pix: a generator and a critic are trained by the same command, and one evaluation gives the result."""

import dataclasses

import pytest
import torch

from ddbm_cli.denoisers import Denoiser, TargetPrediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import load_model
from ddbm_cli.networks import Pix2PixConfig
from ddbm_cli.objectives import Adversarial, Context
from ddbm_cli.paths import RectifiedFlow
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import PIX2PIX, request, run
from tests.tiny import write_pairs
from tests.training.interruptions import stopped_and_resumed
from tests.training.test_training import same, weights

CONTEXT = Context(device=torch.device("cpu"))

SMALL = {
    "network": "pix2pix:channels=8,depth=3",
    "objective": "pix2pix:channels=8,layers=1",
    "size": 16,
    "device": "cpu",
}


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


def asked(root, output="run", steps=12, **changes):
    recipe = {"steps": steps, "batch_size": 4, "warmup": 0, "save_every": 4, "validate_every": steps}
    given = {"data": [root / "pairs"], "output": root / output, **SMALL, **changes}
    return request(given | {"recipe": recipe | changes.get("recipe", {})})


def test_defaults_are_those_of_the_paper():
    made = request({"data": ["x"], "output": "y", "objective": "pix2pix", "size": 256})
    assert (made.path, made.prediction, made.network) == ("rectified", "x0", "pix2pix:depth=8")
    assert made.recipe.beta1 == 0.5 and made.recipe.ema == 0 and made.recipe.learning_rate == 2e-4
    other = request({"data": ["x"], "output": "y", "objective": "pix2pix", "recipe": {"learning_rate": 1e-3}})
    assert other.recipe.learning_rate == 1e-3 and other.recipe.beta1 == PIX2PIX["recipe"]["beta1"]


def test_it_learns_and_needs_one_evaluation(root):
    list(run(asked(root, steps=150, augment=(), val_share=0.3, recipe={"learning_rate": 2e-3})))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.plan().nfe == 1 and not model.is_prior
    assert model.card.scores["mse"] < 0.5 * model.card.scores["blank_mse"]


def test_the_result_does_not_depend_on_the_sampler_or_the_steps(root):
    """The generator depends on the source alone, so any number of steps gives its output."""
    list(run(asked(root, steps=4)))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    source = torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        wanted = model.denoiser(source, torch.tensor(1.0, dtype=torch.float64), source)
    for plan in (model.plan(), model.plan(nfe=3)):
        result = finish(model.translate(source, NoiseSource(0, list("abc")), plan))
        assert torch.allclose(result, wanted, atol=1e-5)


@pytest.mark.parametrize("objective", [SMALL["objective"], "denoising:critic=0.1,crop=32,layers=1"])
def test_a_resumed_run_is_bit_identical(root, objective):
    """Of pix2pix, and of a bridge of the same network with a critic."""
    list(run(asked(root, objective=objective)))
    stopped_and_resumed(asked(root, "cut", objective=objective))
    assert same(weights(root / "run"), weights(root / "cut"))


def test_every_field_changes_the_loss(root):
    def loss(**fields):
        torch.manual_seed(0)
        denoiser = Denoiser(Pix2PixConfig(channels=8, depth=2).create().eval(), RectifiedFlow(), TargetPrediction())
        made = dataclasses.replace(Adversarial(channels=8, layers=1), **fields).create(
            Context(device=torch.device("cpu"))
        )
        x0, source, eps = torch.randn(3, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        t = torch.tensor([0.3, 0.6], dtype=torch.float64)
        for _ in range(2):  # the critic's step acts on the next loss
            value = made(denoiser, x0, source, t, eps)
        return value.detach()

    for change in ({"l1": 1.0}, {"rate": 0.1}, {"channels": 4}, {"layers": 2}):
        assert not torch.equal(loss(), loss(**change)), change


def test_the_critic_learns_to_recognise_outputs():
    torch.manual_seed(0)
    denoiser = Denoiser(Pix2PixConfig(channels=4, depth=2).create().eval(), RectifiedFlow(), TargetPrediction())
    made = Adversarial(channels=8, layers=1, l1=0.0, rate=2e-3).create(CONTEXT)
    x0, source, eps = torch.randn(3, 4, 3, 16, 16)
    t = torch.full((4,), 0.5, dtype=torch.float64)
    losses = [float(made(denoiser, x0, source, t, eps).mean().detach()) for _ in range(40)]
    assert losses[-1] > 3 * losses[0], "the generator is constant, so its loss must rise"


def test_images_of_a_batch_do_not_affect_each_other():
    network = Pix2PixConfig(channels=8, depth=3).create().eval()
    x, time = torch.randn(3, 6, 16, 16), torch.zeros(1)
    with torch.no_grad():
        assert torch.allclose(network(x, time)[1:2], network(x[1:2], time), atol=1e-5)


def test_a_size_that_does_not_fit_is_refused(root):
    with pytest.raises(UsageError, match="does not fit"):
        list(run(asked(root, size=20)))
