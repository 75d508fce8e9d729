"""Training of autoencoders: they learn, resume to the bit, and state the moments of their latents."""

import pytest
import torch

from ddbm_cli.codecs import CODECS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.models import load_model
from ddbm_cli.networks import NETWORKS
from ddbm_cli.networks.perceptual import PerceptualDistance, load_perceptual_distance
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from tests.tiny import picture
from tests.training.test_training import same, weights

SMALL = {
    "task": "autoencoder",
    "network": "autoencoder:channels=8,multipliers=1-2,blocks=1,latent_channels=4",
    "objective": "reconstruction:perceptual=0,critic=0.1,critic_after=4,layers=1,crop=32",
    "size": 40,
    "device": "cpu",
}

PLAIN = SMALL["objective"].replace("critic=0.1", "critic=0")


def write_pictures(folder):
    (folder / "pictures").mkdir()
    for index in range(12):
        picture(index, 40).save(folder / "pictures" / f"{index}.png")
    return folder


@pytest.fixture
def root(tmp_path):
    return write_pictures(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The weights of a run of eight steps without any change."""
    root = write_pictures(tmp_path_factory.mktemp("plain"))
    list(run(asked(root, steps=8)))
    return weights(root / "run")


def asked(root, output="run", steps=12, **changes):
    recipe = {"steps": steps, "batch_size": 4, "warmup": 0, "save_every": 4, "validate_every": steps}
    given = {"data": [root / "pictures"], "output": root / output, **SMALL, **changes}
    return request(given | {"recipe": recipe | changes.get("recipe", {})})


def test_it_learns_and_codes_images(root):
    list(run(asked(root, steps=100, val_share=0.2, objective=PLAIN, recipe={"learning_rate": 4e-3, "ema": 0.9})))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.card.scores["mse"] < 0.2 * model.card.scores["blank_mse"] and model.plan().nfe == 1
    source = torch.stack([torch.full((3, 40, 40), level) for level in (-0.5, 0.7)])
    result = finish(model.translate(source, NoiseSource(0, list("ab")), model.plan()))
    codec = build(CODECS, model.card.network, what="codec").create().eval()
    codec.load_state_dict(model.denoiser.network.state_dict())
    assert torch.equal(codec.decode(codec.encode(source)).clamp(-1, 1), result) and codec.encode(source).shape == (
        2,
        4,
        10,
        10,
    )


def test_its_latents_have_the_spread_of_images(root):
    whole = SMALL["objective"].replace("crop=32", "crop=0")
    list(
        run(
            asked(
                root, steps=60, augment=(), val_share=0.1, objective=whole, recipe={"ema": 0.5, "learning_rate": 1e-6}
            )
        )
    )
    network = load_model(root / "run" / "model.safetensors", device="cpu").denoiser.network
    pictures = torch.stack([to_tensor(picture(index, 40)) for index in range(12)])
    latents = network.encode_image(pictures)
    assert latents.mean((0, 2, 3)).abs().max() < 0.2
    assert (latents.std((0, 2, 3)) - 0.5).abs().max() < 0.2


def test_a_run_in_parts_is_the_run_in_one(root):
    """With a critic, the moments and parts of images at random places."""
    list(run(asked(root, "whole")))
    list(run(asked(root, "parts"), stop=stopping(5)))
    list(run(request({}, resume=root / "parts")))
    assert same(weights(root / "whole"), weights(root / "parts"))


def stopping(step):
    calls = iter(range(10**6))
    return lambda: next(calls) >= 2 * step


@pytest.mark.parametrize("term", ["critic=0", "equivariance=0", "crop=0", "critic_after=0", "rate=0.1", "layers=2"])
def test_every_field_changes_the_weights(root, plain, term):
    # The last value of a field counts.
    list(run(asked(root, steps=8, objective=f"{SMALL['objective']},{term}")))
    assert not same(plain, weights(root / "run"))


def test_wrong_requests_are_refused(root):
    with pytest.raises(UsageError, match="an autoencoder has no sources"):
        asked(root, source="degrade:sr4")
    with pytest.raises(UsageError, match="is for autoencoders"):
        list(run(asked(root, network="pix2pix:channels=8,depth=3")))
    with pytest.raises(UsageError, match="does not fit this network"):
        list(run(asked(root, size=42)))


def test_missing_weights_of_the_perceptual_loss_are_named(monkeypatch):
    monkeypatch.setattr("ddbm_cli.networks.perceptual.PACKAGE", "no-such-package")
    with pytest.raises(UsageError, match="perceptual loss needs weights") as caught:
        load_perceptual_distance(torch.device("cpu"))
    assert "pip install" in caught.value.hint


def test_the_perceptual_distance_is_one():
    torch.manual_seed(0)
    distance, images = PerceptualDistance(), torch.rand(2, 3, 40, 40) * 2 - 1
    for convolution in distance.convolutions:
        torch.nn.init.normal_(convolution.weight, std=0.1)
    noise = torch.randn_like(images)
    near, far = (distance(images + level * noise, images) for level in (0.05, 0.5))
    assert torch.equal(distance(images, images), torch.zeros(2)) and bool((near > 0).all() and (near < far).all())


LINEAR = "autoencoder:channels=12,multipliers=1,blocks=1,patch=2,latent_channels=4"


def test_a_network_of_one_level_begins_as_the_best_linear_code(root):
    """Its error on the first batch is that of the principal components, which no other linear code undercuts."""
    network = build(NETWORKS, LINEAR, what="network").create()
    pictures = torch.stack([to_tensor(picture(index, 40)) for index in range(12)])
    network.begin(pictures)
    patches = torch.nn.functional.pixel_unshuffle(pictures, 2).movedim(1, -1).flatten(0, 2)
    centred = patches - patches.mean(0)
    best = torch.linalg.svdvals(centred.double())[4:].square().sum() / centred.numel()
    error = (network.open(network.raw(pictures)) - pictures).square().mean()
    assert best <= error * (1 + 1e-6) and error < 1.1 * best + 1e-4
    torch.nn.init.normal_(network.encoder[1].second.weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.begin(pictures)
    assert same(before, network.state_dict()), "weights of --from stay"


def test_a_run_begins_linear(root):
    rate = {"learning_rate": 1e-9, "ema": 0.0}
    errors = []
    for name, network in (("one", LINEAR), ("two", LINEAR.replace("multipliers=1", "multipliers=1-1"))):
        list(run(asked(root, name, steps=1, val_share=0.2, network=network, recipe=rate)))
        errors.append(load_model(root / name / "model.safetensors", device="cpu").card.scores["mse"])
    assert errors[0] < 0.2 * errors[1]


def test_the_perceptual_distance_joins_late_and_on_parts(root, monkeypatch):
    seen = []

    def distance(device):
        return lambda made, wanted: seen.append(tuple(made.shape)) or (made - wanted).square().mean((1, 2, 3))

    monkeypatch.setattr("ddbm_cli.objectives.reconstruction.load_perceptual_distance", distance)
    wanted = "reconstruction:perceptual=1,perceptual_after=3,perceptual_crop=16,crop=32"
    list(run(asked(root, steps=5, val_share=0.0, objective=wanted)))
    assert set(seen) == {(4, 3, 16, 16)} and len(seen) < 5
