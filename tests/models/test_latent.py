"""Stable Diffusion's parts as a prior: the same network, schedule and encoder as diffusers' own pipeline uses."""

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image

import ddbm_cli
from ddbm_cli.denoisers import Guidance, guided
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import loading
from ddbm_cli.models.labels import text_label
from ddbm_cli.models.load import load_pipeline
from ddbm_cli.models.texts import embed
from ddbm_cli.registry.locate import finish as finished
from ddbm_cli.registry.pipelines import INDEX, files_of
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.events import Written
from ddbm_cli.tasks.sample import request as sample_request
from ddbm_cli.tasks.sample import run as sample
from ddbm_cli.tasks.translate import request, run
from tests.pipelines import SCHEDULER, write_pipeline, write_xl
from tests.tiny import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipelines") / "tiny")


def states(model, count=2):
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("meaning", ["epsilon", "v_prediction", "sample"])
def test_estimates_are_those_of_diffusers_scheduler(tmp_path, meaning):
    model = load_pipeline(write_pipeline(tmp_path / "p", prediction_type=meaning))
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "p" / "unet")
    scheduler = DDIMScheduler.from_config({**SCHEDULER, "prediction_type": meaning, "clip_sample": False})
    scheduler.set_timesteps(1000)
    x, told = states(model), model.denoiser.network.context.expand(2, -1, -1)
    for step in (0, 317, 999):
        with torch.no_grad():
            output = unet(x, step, told, return_dict=False)[0]
            wanted = scheduler.step(output, step, x).pred_original_sample
            found = model.denoiser(x, torch.tensor((step + 1) / 1000, dtype=torch.float64), x)
        assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_a_text_acts_and_its_scale_exaggerates(folder):
    x, t = states(None), torch.tensor(0.5, dtype=torch.float64)
    model = load_pipeline(folder)

    def estimate(text="", scale=1.0):
        with torch.no_grad():
            return guided(model.denoiser, text_label(model, text)[None], Guidance(label=scale))(x, t, x)

    unsaid, said, twice = estimate(), estimate("a fox"), estimate("a fox", 2.0)
    assert (said - unsaid).abs().max() > 1e-5
    assert torch.allclose(twice - unsaid, 2 * (said - unsaid), atol=1e-5)
    assert torch.allclose(estimate("a fox", 0.0), unsaid, atol=1e-5)


def test_texts_that_are_embedded_later_have_the_same_embeddings(folder):
    early, late = load_pipeline(folder, texts=["a fox", "", "a dog"]), load_pipeline(folder)
    rows = [[int(text_label(model, text)) for text in ("", "a fox", "a dog")] for model in (early, late)]
    assert rows == [[-1, 0, 1]] * 2
    assert torch.equal(early.denoiser.network.context, late.denoiser.network.context)
    with pytest.raises(UsageError, match=r"a text of 19 tokens, 'a a .*'; this model takes at most 18"):
        text_label(early, "a " * 19)


def test_a_python_caller_gives_a_text_once_or_with_each_call(folder):
    source = Image.new("RGB", (16, 16), "red")
    how = {"method": "sdedit", "steps": 2, "output": "array"}
    always = ddbm_cli.load_model(str(folder), prompt="a fox", guidance_scale=3.0)
    other = ddbm_cli.load_model(str(folder))
    once = other(source, **how, prompt="a fox", guidance_scale=3.0)
    assert (always(source, **how) == once).all() and (other(source, **how) != once).any()
    x = states(None)[:1, :3].repeat(1, 1, 2, 2)
    assert not torch.equal(always.translate(x, plan=always.plan(steps=2)), other.translate(x, plan=other.plan(steps=2)))


def test_images_are_encoded_and_decoded(folder):
    """At strength 0 nothing is sampled; the result is the decoded latents of the source."""
    model = load_pipeline(folder)
    assert model.card.preprocess.size == 16 and model.is_prior
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    plan = model.plan(steps=3, start={"name": "noised", "strength": 0.0})
    result = finish(model.translate(source, NoiseSource(0, list("ab")), plan))
    vae = model.codec.vae
    with torch.no_grad():
        wanted = vae.decode(vae.encode(source).latent_dist.mode()).sample
    assert result.shape == source.shape and torch.allclose(result, wanted, atol=1e-4)


def test_what_a_mask_keeps_is_kept_to_the_bit(folder):
    model = load_pipeline(folder)
    source = torch.rand(1, 3, 16, 16) * 2 - 1
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 3:9] = 1
    plan = model.plan(steps=3, start={"name": "noised", "strength": 0.7})
    result = finish(model.translate(source, NoiseSource(0, ["a"]), plan, mask=mask))
    assert torch.equal(result[..., 9:], source[..., 9:]) and (result - source)[..., 3:9].abs().mean() > 0.05


def test_sdedit_and_sampling_from_the_shell(folder, tmp_path):
    picture(0, 24).save(tmp_path / "a.png")
    common = {"model": f"diffusers:{folder}", "steps": 3, "prompt": "a fox"}
    given = {"source": str(tmp_path / "a.png"), "method": "sdedit", **common}
    first = [e for e in run(request(**given, strength=0.4, output=tmp_path / "1.png")) if isinstance(e, Written)]
    list(run(request(**given, strength=0.8, output=tmp_path / "2.png")))
    assert first[0].record["prompt"] == "a fox" and first[0].record["guidance_scale"] == 7.5
    pixels = [open_picture(tmp_path / f"{name}.png").tobytes() for name in (1, 2)]
    assert pixels[0] != pixels[1]
    list(sample(sample_request(output=tmp_path / "s", number=2, **common)))
    assert open_picture(tmp_path / "s" / "000001.png").size == (16, 16)


def test_embeddings_are_those_of_diffusers_pipelines(tmp_path):
    texts = ("", "a fox")
    one, xl = write_pipeline(tmp_path / "one"), write_xl(tmp_path / "xl")
    pipeline = StableDiffusionPipeline.from_pretrained(one)
    for text, found in zip(texts, embed(one, texts)[0], strict=True):
        assert (pipeline.encode_prompt(text, "cpu", 1, False)[0] - found).abs().max() < 1e-6
    pipeline = StableDiffusionXLPipeline.from_pretrained(xl)
    said, none, said_whole, none_whole = pipeline.encode_prompt(texts[1], device="cpu", negative_prompt=None)
    context, whole = embed(xl, texts)
    for wanted, found in ((torch.cat([none, said]), context), (torch.cat([none_whole, said_whole]), whole)):
        assert (wanted - found).abs().max() < 1e-6


def test_a_repository_on_the_hub(folder, hub):
    body = {name: (folder / name).read_bytes() for name in (INDEX, *files_of(folder / INDEX))}
    hub.add("org/sd", body)
    model = finished(loading("diffusers:org/sd"))
    assert model.name == "org/sd" and model.digest == load_pipeline(folder).digest
    asked = len(hub.requests)
    commit = hub.repos["org/sd"].commit
    finished(loading(f"diffusers:org/sd@{commit}"))
    finished(loading(f"diffusers:org/sd@{commit}", fetch=False))
    assert len([each for each in hub.requests[asked:] if each.method == "GET"]) == 0


def test_what_is_no_pipeline_is_explained(folder, tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        finished(loading("diffusers:./nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="has no unet"):
        load_pipeline(tmp_path / "empty")
    silent = shutil.copytree(folder, tmp_path / "silent")
    shutil.rmtree(silent / "text_encoder")
    with pytest.raises(ModelError, match="has no text_encoder"):
        load_pipeline(silent)
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights" * 10_000)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_pipeline(broken)
    lying = shutil.copytree(folder, tmp_path / "lying")
    for name, value in {"block_out_channels": [2**13, 2**13], "layers_per_block": 10**6, "in_channels": "4"}.items():
        config = lying / "unet" / "config.json"
        config.write_text(json.dumps(json.loads((folder / "unet" / "config.json").read_text()) | {name: value}))
        with pytest.raises(ModelError, match=r"not fit its card|more than 128 layers|channels"):
            load_pipeline(lying)
    odd = shutil.copytree(folder, tmp_path / "odd")
    (odd / "scheduler" / "scheduler_config.json").write_text(json.dumps({"beta_schedule": "laplace"}))
    with pytest.raises(ModelError, match="unknown noise schedule"):
        load_pipeline(odd)
    picture(0, 24).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="takes no text"):
        list(run(request(source=str(tmp_path / "a.png"), output=tmp_path / "b.png", prompt="a fox")))


@pytest.mark.parametrize(("channels", "words"), [(9, "an inpainting model"), (5, "another kind of model")])
def test_a_unet_with_other_inputs_is_named(folder, tmp_path, channels, words):
    other = shutil.copytree(folder, tmp_path / "other")
    config = other / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": channels}))
    for reference in (f"diffusers:{other}", str(other)):
        with pytest.raises(ModelError, match=words) as caught:
            finished(loading(reference))
        assert "diffusers' " in caught.value.hint


def test_a_pipelines_folder_needs_no_prefix(folder):
    assert finished(loading(str(folder))).card.text_conditional


def test_pickled_weights_are_not_loaded(folder, tmp_path):
    old = shutil.copytree(folder, tmp_path / "old")
    (old / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, old / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="has no diffusion_pytorch_model"):
        load_pipeline(old)
