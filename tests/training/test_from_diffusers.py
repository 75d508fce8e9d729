"""Bridges that begin with the weights of Stable Diffusion, or of a diffusion transformer."""

import json

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DiTTransformer2DModel, UNet2DConditionModel

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.models import assemble, load_model
from ddbm_cli.models.load import open_model
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from tests.pipelines import SCHEDULER, write_dit, write_instruct, write_pipeline, write_xl
from tests.tiny import write_pairs
from tests.training.test_training import same, weights

RECIPE = {"steps": 2, "batch_size": 2, "warmup": 0, "save_every": 1, "validate_every": 2, "ema": 0.0}
STILL = RECIPE | {"steps": 1, "learning_rate": 1e-20, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 6, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline") / "tiny")


def asked(data, start, output, **settings):
    body = {"data": [data], "output": output, "val_share": 0.34, "device": "cpu", "start_from": f"diffusers:{start}"}
    return request(body | {"recipe": RECIPE} | settings)


def denoiser_of(request, start, texts=("",)):
    """Return the denoiser with which a run begins, in float64, and the pipeline's network."""
    from ddbm_cli.models.start_from import start_from
    from ddbm_cli.tasks.train.card import card_of
    from ddbm_cli.tasks.train.data import load_data

    loaded = load_data(request, exclude=())
    made = card_of(
        request, loaded.batches, loaded.labels, folder=start, codec=loaded.codec, codec_setting=loaded.codec_setting
    )
    denoiser = assemble(made).eval()
    start_from(denoiser.network, start, loaded.labels.classes, texts=texts)
    return denoiser.double()


def alphas(first, last, power):
    """Return alphas_cumprod of diffusers' schedulers, which have them in float32."""
    ends = first ** (1 / power), last ** (1 / power)
    return (1 - torch.linspace(*ends, 1000, dtype=torch.float64) ** power).cumprod(0)


def states(path, t):
    random = torch.Generator().manual_seed(3)
    x0, source, eps = torch.randn(3, 2, 4, 8, 8, generator=random, dtype=torch.float64)
    return path.training_state(x0, source, eps, t.expand(2)), source


def test_a_run_may_begin_with_a_pipeline_that_edits(data, tmp_path):
    """Its first layer takes the source already: no weights are new, and the source keeps its scale."""
    start = write_instruct(tmp_path / "p")
    begun = asked(data, start, tmp_path / "run")
    network = denoiser_of(begun, start).network
    own, unet = network.model.state_dict(), UNet2DConditionModel.from_pretrained(start / "unet")
    assert all(torch.equal(own[name].float(), value) for name, value in unet.state_dict().items())
    assert network.config.source_scale == pytest.approx(1 / 0.18215)
    list(run(begun))
    made = load_model(tmp_path / "run" / "model.safetensors", device="cpu")
    assert made.card.network["source_scale"] == network.config.source_scale and not made.takes_text


@pytest.mark.parametrize("meaning", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("path", ["vp-bridge", "ve-bridge:sigma_max=20", "brownian:variance=2"])
def test_a_bridge_begins_with_the_estimates_of_the_diffusion_model(data, tmp_path, path, meaning):
    """The network ignores the source, and is called at the time and scale where it was trained."""
    start = write_pipeline(tmp_path / "p", prediction_type=meaning)
    denoiser = denoiser_of(asked(data, start, tmp_path / "run", path=path), start)
    unet = UNet2DConditionModel.from_pretrained(start / "unet").double()
    kept = alphas(SCHEDULER["beta_start"], SCHEDULER["beta_end"], 2)
    told = denoiser.network.context.expand(2, -1, -1)
    for step in (20, 400, 900):
        ratio = torch.log(kept[step] / (1 - kept[step]))  # of the model's signal and noise at one of its steps
        t = denoiser.path.time_at(ratio)
        x, source = states(denoiser.path, t)
        a, b, c = denoiser.path.coefficients(t)
        y = (x - a * source) / (b**2 + c**2).sqrt()
        with torch.no_grad():
            output = unet(y, step, told, return_dict=False)[0]
            level, noise = kept[step].sqrt(), (1 - kept[step]).sqrt()
            wanted = {
                "epsilon": (y - noise * output) / level,
                "v_prediction": level * y - noise * output,
                "sample": output,
            }[meaning]
            found = denoiser(x, t, source)
        assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max().clamp(min=1)


def test_a_saved_bridge_is_loaded_without_the_pipeline(data, folder, tmp_path):
    list(run(asked(data, folder, tmp_path / "run", text_condition="a fox")))
    file = tmp_path / "run" / "model.safetensors"
    model = load_model(file, device="cpu")
    network = model.denoiser.network
    assert model.card.network["in_channels"] == 8 and model.card.codec["kind"] == "AutoencoderKL"
    assert model.card.prediction["name"] == "diffusion" and model.card.defaults["start"]["name"] == "drawn"
    assert network.context.shape == (1, 20, 16) and not model.is_prior
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    result = finish(model.translate(source, NoiseSource(0, list("ab")), model.plan(nfe=3)))
    assert result.shape == source.shape and result.isfinite().all()
    assert model.plan("heun:churn=0").start.name == "drawn"


def test_the_text_is_stored_and_acts(data, folder, tmp_path):
    for name, text in (("none", ""), ("fox", "a fox")):
        list(run(asked(data, folder, tmp_path / name, text_condition=text, recipe=STILL)))
    models = [load_model(tmp_path / name / "model.safetensors", device="cpu") for name in ("none", "fox")]
    contexts = [each.denoiser.network.context for each in models]
    with open_model(folder, ("", "a fox")) as (_, tensors):
        wanted = tensors.get_tensor("context")
    for row, context in enumerate(contexts):
        assert (context[0] - wanted[row]).abs().max() < 2e-3  # stored in half precision
    x, t = torch.randn(1, 4, 8, 8), torch.tensor(0.5, dtype=torch.float64)
    with torch.no_grad():
        one, two = (each.denoiser(x, t, x) for each in models)
    assert (one - two).abs().max() > 1e-5


def test_each_class_has_its_text(folder, tmp_path):
    for name in ("cat", "hat"):
        for side in "AB":
            write_pairs(tmp_path / "one", 4, 16)
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            (tmp_path / "one" / side).rename(tmp_path / "pairs" / side / name)
    settings = {"classes": True, "text_condition": "a {class}", "recipe": STILL}
    list(run(asked(tmp_path / "pairs", folder, tmp_path / "run", **settings)))
    model = load_model(tmp_path / "run" / "model.safetensors", device="cpu")
    with open_model(folder, ("", "a cat", "a hat")) as (_, tensors):
        assert (model.denoiser.network.context - tensors.get_tensor("context")).abs().max() < 2e-3
    assert model.card.class_names == ("cat", "hat")
    source, plan = torch.rand(1, 3, 16, 16) * 2 - 1, model.plan(nfe=2)
    results = [
        finish(model.with_conditions(torch.tensor([label])).translate(source, NoiseSource(0, ["a"]), plan))
        for label in (-1, 0, 1)
    ]
    assert all((results[0] - each).abs().max() > 1e-6 for each in results[1:])
    with pytest.raises(UsageError, match="same for every class"):
        list(run(asked(tmp_path / "pairs", folder, tmp_path / "x", classes=True, text_condition="a fox")))


def test_a_run_in_parts_is_the_run_in_one(data, folder, tmp_path):
    from itertools import count

    list(run(asked(data, folder, tmp_path / "whole")))
    calls = count()
    list(run(asked(data, folder, tmp_path / "parts"), stop=lambda: next(calls) >= 2))
    list(run(request({}, resume=tmp_path / "parts")))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_recomputed_activations_change_nothing(data, folder, tmp_path):
    for name, again in (("kept", False), ("again", True)):
        list(run(asked(data, folder, tmp_path / name, compute={"checkpoint_activations": again})))
    first, second = (weights(tmp_path / name) for name in ("kept", "again"))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


@pytest.mark.parametrize("write", [write_xl, write_dit])
def test_other_networks(data, tmp_path, write):
    start = write(tmp_path / "p")
    list(run(asked(data, start, tmp_path / "run")))
    model = load_model(tmp_path / "run" / "model.safetensors", device="cpu")
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    both = finish(model.translate(source, NoiseSource(0, list("ab")), model.plan(nfe=2)))
    assert both.shape == source.shape and both.isfinite().all()


def test_dit_gives_the_estimates_of_the_diffusion_model(data, tmp_path):
    start = write_dit(tmp_path / "p")
    denoiser = denoiser_of(asked(data, start, tmp_path / "run"), start)
    theirs = DiTTransformer2DModel.from_pretrained(start / "transformer").eval().double()
    theirs.pos_embed.pos_embed = theirs.pos_embed.pos_embed.double()
    kept = alphas(0.0001, 0.02, 1)[500]
    t = denoiser.path.time_at(torch.log(kept / (1 - kept)))
    x, source = states(denoiser.path, t)
    a, b, c = denoiser.path.coefficients(t)
    y = (x - a * source) / (b**2 + c**2).sqrt()
    with torch.no_grad():
        output = theirs(y, torch.full((2,), 500), torch.full((2,), 10), return_dict=False)[0][:, :4]
        wanted = (y - (1 - kept).sqrt() * output) / kept.sqrt()
        assert (denoiser(x, t, source) - wanted).abs().max() < 1e-6 * wanted.abs().max()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_class_name": "UNetMotionModel"}, "unknown architecture"),
        ({"addition_embed_type": "image"}, "addition_embed_type"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"cross_attention_dim": [8, 16]}, "cross_attention_dim"),
    ],
)
def test_unknown_architectures_are_refused(data, tmp_path, change, words):
    start = write_pipeline(tmp_path / "p")
    config = start / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ModelError, match=words) as caught:
        list(run(asked(data, start, tmp_path / "run")))
    assert caught.value.hint


def test_a_path_without_noise_needs_another_prediction(data, folder, tmp_path):
    with pytest.raises(UsageError, match="needs a path with noise"):
        list(run(asked(data, folder, tmp_path / "run", path="rectified")))
    list(run(asked(data, folder, tmp_path / "run", path="rectified", prediction="velocity")))


@pytest.mark.parametrize("separate", [False, True])
def test_lora(data, folder, tmp_path, separate):
    pytest.importorskip("peft")
    digest = sha256_of_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    settings = {"lora": "rank=2,targets=attention", "separate": separate, "recipe": RECIPE | {"learning_rate": 1e-2}}
    list(run(asked(data, folder, tmp_path / "run", **settings)))
    file = tmp_path / "run" / "model.safetensors"
    model = load_model(file, device="cpu")
    with open_model(folder) as (_, tensors):
        before = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a dict
    changed = {
        name
        for name, value in model.denoiser.network.state_dict().items()
        if not torch.allclose(
            value[:, :4] if name == model.denoiser.network.first_layer else value, before[name], atol=2e-3
        )
    }
    assert changed and all(".attentions." in name or name == model.denoiser.network.first_layer for name in changed)
    assert sha256_of_file(folder / "unet" / "diffusion_pytorch_model.safetensors") == digest
    source = torch.rand(1, 3, 16, 16) * 2 - 1
    assert finish(model.translate(source, NoiseSource(0, ["a"]), model.plan(nfe=2))).isfinite().all()


def test_frozen_weights_are_in_memory_once(folder):
    from ddbm_cli.options.lora import read_lora
    from ddbm_cli.training.averages import Averages
    from ddbm_cli.training.lora import inject

    pytest.importorskip("peft")
    model = load_model(str(folder), device="cpu")
    inject(model.denoiser.network, read_lora("rank=2"))
    averages = Averages(model.denoiser, (0.5,))
    places = {parameter.data_ptr() for parameter in model.denoiser.parameters()}
    for own, given in zip(averages[0].parameters(), model.denoiser.parameters(), strict=True):
        assert (own.data_ptr() in places) != given.requires_grad
