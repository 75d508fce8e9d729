"""Trainings whose texts are encoded by a frozen encoder of transformers: networks of ours, and Stable Diffusion's."""

import dataclasses
import shutil
from functools import partial
from itertools import count

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")

from diffusers import UNet2DConditionModel

from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.labels import text_label
from ddbm_cli.models.load import checked_card
from ddbm_cli.models.texts import embed
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.events import Written
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.translate import request as asked_to_translate
from ddbm_cli.tasks.translate import run as translate
from tests.pipelines import SCHEDULER, write_clip, write_dit, write_pipeline, write_t5, write_xl
from tests.tiny import SMALLEST, picture, tiny_weights, write_pairs
from tests.training.test_from_diffusers import RECIPE, alphas, denoiser_of, states
from tests.training.test_training import same, weights

RED, BLUE = "make it red", "make it blue"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pairs with captions, encoders, and a pipeline."""
    root = tmp_path_factory.mktemp("texts")
    write_pairs(root / "pairs", 6, 16)
    lines = [f"pairs/A/{index:03d}.png,pairs/B/{index:03d}.png,{(RED, BLUE, '')[index % 3]}" for index in range(6)]
    (root / "pairs.csv").write_text("\n".join(["source,target,caption", *lines]))
    write_clip(root / "clip")
    write_t5(root / "t5")
    write_pipeline(root / "sd")
    picture(0).save(root / "a.png")
    return root


def asked(root, output, **settings):
    body = {"data": [root / "pairs.csv"], "output": output, "val_share": 0.34, "device": "cpu", "task": "instruct"}
    own = {} if "start_from" in settings else {"network": SMALLEST, "text_encoder": f"clip:{root / 'clip'}"}
    return request(body | {"size": 16, "recipe": RECIPE} | own | settings)


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A run of a network of ours."""
    folder = tmp_path_factory.mktemp("runs") / "clip"
    before = sha256_of_file(root / "clip" / "model.safetensors")
    list(run(asked(root, folder)))
    assert sha256_of_file(root / "clip" / "model.safetensors") == before
    return folder


def translated(root, model, output, **more):
    """Translate; return the record and the bytes of the result."""
    given = {"source": str(root / "a.png"), "model": str(model), "output": output, "steps": 2, "device": "cpu"}
    (record,) = [event.record for event in translate(asked_to_translate(**given, **more)) if isinstance(event, Written)]
    return record, Image.open(output).tobytes()


def test_the_encoder_is_named_by_the_card_and_not_in_the_file(root, trained):
    card = checked_card(trained / "model.safetensors")
    facts = card.text_encoder
    assert (facts.reference, facts.width, facts.length, facts.padded) == (f"clip:{root / 'clip'}", 16, 20, False)
    assert card.text_conditional and card.network["text_features"] == 16 and card.condition_dropout == 0.05
    own = [name for name in load_file(trained / "model.safetensors") if name.startswith("text_encoder.")]
    assert sorted(own) == ["text_encoder.first", "text_encoder.norm.bias", "text_encoder.norm.weight"]


def test_a_run_in_parts_is_the_run_in_one(root, trained, tmp_path):
    calls = count()
    list(run(asked(root, tmp_path / "parts"), stop=lambda: next(calls) >= 2))
    list(run(request({}, resume=tmp_path / "parts")))
    assert same(weights(trained), weights(tmp_path / "parts"))


@pytest.fixture(scope="module")
def model(root, trained, tmp_path_factory):
    """The model of that run, with random weights, so that every input reaches the output."""
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    card = checked_card(trained / "model.safetensors")
    write_model(file, card, tiny_weights(card))
    return file


def test_texts_reach_the_result(root, model, tmp_path):
    def made(name, **more):
        return translated(root, model, tmp_path / f"{name}.png", **more)

    record, red = made("red", prompt=RED)
    assert (record["prompt"], record["guidance_scale"]) == (RED, 1.0)
    plain, blue = made("plain")[1], made("blue", prompt=BLUE)[1]
    assert len({plain, red, blue, made("more", prompt=RED, guidance_scale=3.0, image_guidance_scale=1.5)[1]}) == 4
    (tmp_path / "prompts.txt").write_text(f"a.png\t{BLUE}\n")
    assert made("own", prompts=tmp_path / "prompts.txt")[1] == blue
    with pytest.raises(UsageError, match="at most 18"):
        made("long", prompt="a " * 19)
    with pytest.raises(UsageError, match="needs a text"):
        made("scale", guidance_scale=2.0)


def test_a_model_with_another_encoder_is_refused(root, model, tmp_path):
    shutil.copytree(root / "clip", tmp_path / "clip")
    file, card = tmp_path / "model.safetensors", checked_card(model)
    facts = dataclasses.replace(card.text_encoder, reference=f"clip:{tmp_path / 'clip'}")
    write_model(file, dataclasses.replace(card, text_encoder=facts), load_file(model))
    translated(root, file, tmp_path / "good.png", prompt=RED)
    other(tmp_path / "clip")
    with pytest.raises(ModelError, match="not the text encoder that the model was trained with") as caught:
        translated(root, file, tmp_path / "b.png", prompt=RED)
    assert caught.value.hint
    with pytest.raises(UsageError, match="not the text encoder that model 'clip'"):
        list(run(asked(root, tmp_path / "run", start_from=str(file))))


def other(folder):
    """Change the weights of an encoder."""
    file = folder / "model.safetensors"
    save_file({name: value + 1e-3 for name, value in load_file(file).items()}, file, metadata={"format": "pt"})


def test_a_run_is_resumed_with_its_encoder_alone(root, tmp_path):
    shutil.copytree(root / "t5", tmp_path / "t5")
    calls = count()
    started = asked(root, tmp_path / "run", text_encoder=f"t5:{tmp_path / 't5'}")
    list(run(started, stop=lambda: next(calls) >= 2))
    card = checked_card(tmp_path / "run" / "model.safetensors")
    assert card.text_encoder.reference == f"t5:{tmp_path / 't5'}" and card.text_encoder.length == 128
    other(tmp_path / "t5")
    with pytest.raises(UsageError, match="not the text encoder that"):
        list(run(request({}, resume=tmp_path / "run")))


def test_what_does_not_go_together_is_refused(root, tmp_path):
    with pytest.raises(UsageError, match="needs texts"):
        asked(root, tmp_path / "x", task="bridge")
    for write in (write_xl, write_dit):
        with pytest.raises(UsageError, match="takes no text of a single encoder"):
            asked(root, tmp_path / "x", start_from=f"diffusers:{write(tmp_path / write.__name__)}")
    with pytest.raises(UsageError, match="mutually exclusive"):
        list(run(asked(root, tmp_path / "x", start_from=f"diffusers:{root / 'sd'}", text_condition="a fox")))
    with pytest.raises(UsageError, match="takes no texts"):
        list(run(asked(root, tmp_path / "x", network="pix2pix:depth=2", objective="pix2pix")))


@pytest.mark.parametrize("path", ["vp-bridge", "ddpm"])
def test_edits_begin_with_the_estimates_of_stable_diffusion(root, tmp_path, path):
    """For a text, those of the U-Net with it; without, those with an empty one. The source's channels are zeros."""
    denoiser = denoiser_of(asked(root, tmp_path / "run", start_from=f"diffusers:{root / 'sd'}", path=path), root / "sd")
    assert denoiser.network.config.in_channels == 8 and denoiser.sees_source
    if path == "ddpm":  # the noise schedule is that of the pipeline
        assert (denoiser.path.schedule, denoiser.path.last) == ("scaled-linear", SCHEDULER["beta_end"])
    unet = UNet2DConditionModel.from_pretrained(root / "sd" / "unet").double()
    kept = alphas(SCHEDULER["beta_start"], SCHEDULER["beta_end"], 2)
    texts = embed(root / "sd", [RED, ""])[0].double()
    label = torch.cat([texts[:1], torch.full_like(texts[:1], -1)])
    for step in (20, 900):
        t = denoiser.path.time_at(torch.log(kept[step] / (1 - kept[step])))
        x, source = states(denoiser.path, t)
        a, b, c = denoiser.path.coefficients(t)
        y = (x - a * source) / (b**2 + c**2).sqrt()
        with torch.no_grad():
            output = unet(y, step, texts, return_dict=False)[0]
            wanted = (y - (1 - kept[step]).sqrt() * output) / kept[step].sqrt()
            found = denoiser(x, t, source, Conditions(label))
        assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max().clamp(min=1)


def test_edits_that_begin_with_stable_diffusion(root, tmp_path):
    list(run(asked(root, tmp_path / "run", start_from=f"diffusers:{root / 'sd'}")))
    file = tmp_path / "run" / "model.safetensors"
    made = load_model(file, device="cpu")
    card = made.card
    assert card.text_encoder.reference == f"clip:{root / 'sd'}" and card.text_encoder.padded and card.concat_source
    assert card.condition_dropout == 0.05 and not any("text_model" in name for name in load_file(file))
    assert made.denoiser.network.context.shape == (1, 20, 16)  # of an empty text
    source, plan, label = torch.rand(1, 3, 16, 16) * 2 - 1, made.plan(nfe=2), partial(text_label, made)
    results = [
        finish(made.with_conditions(label(text)[None]).translate(source, NoiseSource(0, ["a"]), plan))
        for text in (RED, BLUE, "")
    ]
    assert all((results[0] - each).abs().max() > 1e-6 for each in results[1:])
    more = asked(root, tmp_path / "more", start_from=str(file))
    assert more.text_encoder == f"clip:{root / 'sd'}" and "text_features" not in more.network
