"""Bridges between latents: trained by the same command, exact on resume, coded once."""

import json
from itertools import count

import pytest
import torch

from ddbm_cli.codecs import CODECS
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.load import load_file
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import Stepped
from ddbm_cli.training.encoding import Encoder
from tests.codecs.test_codecs import KL, SMALL
from tests.tiny import tiny_card, tiny_weights, write_pairs
from tests.training.test_training import same, weights

NETWORK = "adm:channels=16,multipliers=1-2,blocks=1,attention=2,head_channels=16"


def write_autoencoder(path):
    card = tiny_card(network=SMALL, preprocess={"size": 32}, prediction={"name": "x0"}, path={"name": "rectified"})
    write_model(path, card, tiny_weights(card))
    return path


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12, 32)
    write_autoencoder(tmp_path / "codec.safetensors")
    return tmp_path


def asked(root, output="run", steps=6, **changes):
    recipe = {"batch_size": 4, "warmup": 0, "save_every": 2, "validate_every": steps}
    recipe |= {} if "rounds" in changes else {"steps": steps}
    given = {"data": [root / "pairs"], "output": root / output, "network": NETWORK, "size": 32, "device": "cpu"}
    return request(given | {"codec": str(root / "codec.safetensors")} | changes | {"recipe": recipe})


def test_the_model_holds_its_codec_and_translates_images(root):
    list(run(asked(root)))
    (root / "codec.safetensors").unlink()
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.card.codec["name"] == "autoencoder" and model.codec.factor == 4 and not model.card.clip
    assert model.denoiser.network.config.out_channels == 4
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    assert finish(model.translate(source, NoiseSource(0, list("ab")), model.plan())).shape == source.shape
    assert {"mse", "loss"} <= model.card.scores.keys()


def test_a_run_in_parts_is_the_run_in_one(root):
    list(run(asked(root, "whole")))
    calls = count()
    list(run(asked(root, "parts"), stop=lambda: next(calls) >= 5))
    list(run(request({}, resume=root / "parts")))
    assert same(weights(root / "whole"), weights(root / "parts"))


def test_the_cache_changes_nothing(root):
    list(run(asked(root, "kept")))
    list(run(asked(root, "coded", cache_memory=0.0, cache_disk=0.0)))
    assert same(weights(root / "kept"), weights(root / "coded"))


def test_each_image_is_coded_once(tmp_path):
    codec = build(CODECS, SMALL, what="codec").create().eval()
    record = 4 * 4 * 8 * 8

    def made(memory, disk):
        return Encoder(codec, (32, 32), count=3, memory=memory * record, disk=disk * (record + 36) + 32)

    images = torch.rand(5, 3, 32, 32) * 2 - 1
    encoder, expected = made(2, 0), codec.encode(images)
    assert torch.equal(encoder(images), expected) and encoder.coded == 5
    assert torch.equal(encoder(images), expected) and encoder.coded == 5 + 3  # three are beyond the limit
    assert torch.equal(encoder(images.flip(-1)), codec.encode(images.flip(-1)))
    for coded in (5, 1):  # a file of four, which the second run finds
        encoder = made(0, 4)
        encoder.keep_in(tmp_path / "latents" / "0.bin")
        assert torch.equal(encoder(images), expected) and encoder.coded == coded
    encoder.forget()
    assert not (tmp_path / "latents" / "0.bin").exists()


def test_latents_of_another_codec_or_damaged_ones_are_not_used(tmp_path):
    """Nor what is no file of latents: a link's target is left alone, and the images are coded."""
    codecs = [build(CODECS, SMALL, what="codec").create().eval() for _ in range(2)]
    images, file = torch.rand(3, 3, 32, 32) * 2 - 1, tmp_path / "latents" / "0.bin"

    def coded(codec):
        encoder = Encoder(codec, (32, 32), count=0, disk=10**6)
        encoder.keep_in(file)
        assert torch.equal(encoder(images), codec.encode(images))
        return encoder.coded

    assert [coded(codec) for codec in (codecs[0], codecs[0], codecs[1], codecs[1])] == [3, 0, 3, 0]
    body = bytearray(file.read_bytes())
    body[32 + 100] ^= 1
    file.write_bytes(body[:-1])  # of three records, the first damaged and the last cut short
    assert coded(codecs[1]) == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    file.unlink()
    file.symlink_to(elsewhere)
    assert coded(codecs[1]) == 3 and elsewhere.read_bytes() == b"not ours"


def test_a_resumed_run_uses_the_latents_of_its_folder(root, monkeypatch):
    """Also those that are measured before the first step. They are in the folder until the run ends."""
    calls, encoders, create = count(), [], Encoder.__init__
    monkeypatch.setattr(Encoder, "__init__", lambda self, *a, **b: (encoders.append(self), create(self, *a, **b))[1])
    list(run(asked(root, augment=[]), stop=lambda: next(calls) >= 5))
    assert [file.name for file in (root / "run" / "latents").iterdir()] == ["0-0.bin"]
    list(run(request({}, resume=root / "run")))
    assert encoders[0].coded > 20 and encoders[1].coded == 0
    assert not (root / "run" / "latents").exists()


def test_schrodinger_bridges_of_latents(root):
    """Simulated pairs are latents; a run in parts, also in the middle of a round, is the run in one."""
    rounds = {"task": "schrodinger", "rounds": 2, "first_round_steps": 3, "round_steps": 3, "simulation_steps": 2}
    rounds |= {"data": [root / "pairs" / "A", root / "pairs" / "B"], "cache_pairs": 4}
    list(run(asked(root, "whole", **rounds)))
    done = []
    events = run(asked(root, "parts", **rounds), stop=lambda: len(done) >= 4)
    for event in events:
        done += [event] if isinstance(event, Stepped) else []
    list(run(request({}, resume=root / "parts")))
    assert same(weights(root / "whole"), weights(root / "parts"))
    model = load_file(root / "whole" / "model.safetensors", device="cpu", direction="BtoA")
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    assert finish(model.translate(source, NoiseSource(0, list("ab")), model.plan())).shape == source.shape
    assert model.codec.factor == 4 and not model.card.clip


def test_priors_of_latents(root):
    list(run(asked(root, task="prior", steps=4)))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.is_prior and model.denoiser.network.config.in_channels == 4
    result = finish(model.translate(torch.zeros(1, 3, 32, 32), NoiseSource(0, ["a"]), model.plan(nfe=4)))
    assert result.shape == (1, 3, 32, 32)


def test_a_run_from_a_model_of_latents_keeps_its_codec(root):
    list(run(asked(root)))
    (root / "codec.safetensors").unlink()
    given = {"data": [root / "pairs"], "start_from": str(root / "run" / "model.safetensors"), "device": "cpu"}
    list(run(request(given | {"output": root / "more", "recipe": {"steps": 2, "batch_size": 4, "validate_every": 2}})))
    first, more = (load_model(root / name / "model.safetensors", device="cpu").codec for name in ("run", "more"))
    assert same(first.state_dict(), more.state_dict())


def test_an_autoencoder_of_diffusers(root):
    diffusers = pytest.importorskip("diffusers")
    diffusers.AutoencoderKL.from_config(KL).save_pretrained(root / "pipeline" / "vae")
    list(run(asked(root, steps=2, codec=str(root / "pipeline"))))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.card.codec["kind"] == "AutoencoderKL" and model.codec.channels == 4


def test_wrong_codecs_are_explained(root):
    pixels = tiny_card()
    write_model(root / "pixels.safetensors", pixels, tiny_weights(pixels))
    with pytest.raises(UsageError, match="has no autoencoder"):
        list(run(asked(root, codec=str(root / "pixels.safetensors"))))
    with pytest.raises(ModelError):
        list(run(asked(root, codec=str(root / "nothing.safetensors"))))
    with pytest.raises(UsageError, match="does not fit this"):
        list(run(asked(root, size=30)))
    with pytest.raises(UsageError, match="does not fit this"):
        list(run(asked(root, size=36)))
    with pytest.raises(UsageError, match="is for pixels"):
        list(run(asked(root, objective="pix2pix")))
    with pytest.raises(UsageError, match="model of pixels"):
        list(run(asked(root, objective="denoising:clip=true")))
    folder = root / "vae"
    folder.mkdir()
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights" * 100)
    for config, words in (
        ({"_class_name": "AutoencoderKL"} | KL, "safetensors"),
        ({"_class_name": "VQModel"}, "codec"),
    ):
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=words):
            list(run(asked(root, codec=str(folder))))


def test_another_autoencoder_does_not_continue_a_run(root):
    list(run(asked(root, steps=2)))
    card = tiny_card(network=SMALL, preprocess={"size": 32}, prediction={"name": "x0"}, path={"name": "rectified"})
    write_model(root / "codec.safetensors", card, tiny_weights(card, seed=1))
    with pytest.raises(UsageError, match="not the autoencoder"):
        list(run(request({"recipe": {"steps": 4}}, resume=root / "run")))
