"""InstructPix2Pix's parts in our own loop: the latents of diffusers' pipeline, step by step."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
)
from PIL import Image

from ddbm_cli.denoisers import Conditions, Guidance
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Pulled, Verified
from ddbm_cli.models.labels import text_label
from ddbm_cli.models.load import load_pipeline
from ddbm_cli.registry.pipelines import INDEX, files_of
from ddbm_cli.samplers import finish
from ddbm_cli.tasks import weights
from ddbm_cli.tasks.events import Written
from ddbm_cli.tasks.recreate import recreate
from ddbm_cli.tasks.translate import request, run
from tests.pipelines import write_instruct
from tests.tiny import picture

TEXT = "make it snow"
STEPS = 10
"""So many that the times of training at equal distances are whole numbers."""

LINSPACE, TRAILING = "karras:rho=1,gap=0", "uniform:gap=0"
"""Our grids of diffusers' spacings of these names."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_instruct(tmp_path_factory.mktemp("pipelines") / "instruct")


@pytest.fixture(scope="module")
def model(folder):
    return load_pipeline(folder, texts=[TEXT])


def test_its_card_is_that_of_a_model_that_edits(model):
    card = model.card
    assert (card.kind, card.task, card.concat_source) == ("bridge", "image, text -> image", True)
    plan = model.plan()
    assert plan.sampler.eta == 1 and plan.nfe == 100 and plan.times[0] == 1.0
    assert model.denoiser.network.config.source_scale == pytest.approx(1 / 0.18215)


@pytest.mark.parametrize(
    ("scheduler", "spacing", "sampler", "grid"),
    [
        (EulerAncestralDiscreteScheduler, "linspace", "euler-ancestral", LINSPACE),
        (EulerDiscreteScheduler, "linspace", "implicit", LINSPACE),
        (DDIMScheduler, "trailing", "implicit", TRAILING),
    ],
)
def test_latents_are_those_of_diffusers_pipeline(folder, model, monkeypatch, scheduler, spacing, sampler, grid):
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler.from_config(
        pipeline.scheduler.config, timestep_spacing=spacing, clip_sample=False, set_alpha_to_one=True
    )
    draws = torch.randn(STEPS + 1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    left = iter(draws[1:])
    for module in ("euler_ancestral_discrete", "euler_discrete"):
        place = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
        monkeypatch.setattr(place, lambda *shape, **how: next(left), raising=False)
    theirs = []

    def keep(pipeline, step, t, now):
        sigma = pipeline.scheduler.sigmas[step + 1] if hasattr(pipeline.scheduler, "sigmas") else torch.zeros(())
        theirs.append(now["latents"] / (sigma**2 + 1).sqrt())
        return now

    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    first = float(model.plan().path.coefficients(torch.ones((), dtype=torch.float64)).c)
    start = draws[:1, 0] * (first if scheduler is DDIMScheduler else 1)
    pipeline(
        TEXT, image=source, num_inference_steps=STEPS, image_guidance_scale=1.5, guidance_scale=7.5,
        latents=start, output_type="latent", callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"],
    )  # fmt: skip
    ours, noise = [], iter(draws)
    conditioned = model.with_conditions(text_label(model, TEXT)[None], Guidance(image=1.5, label=7.5))
    tensor = model.card.preprocess.forward(source)[0][None]
    calls = conditioned._sample(
        model.codec.encode(tensor), lambda like: next(noise), model.plan(sampler, grid, STEPS), None
    )
    last = None
    while last is None:
        try:
            ours.append(next(calls).x)
        except StopIteration as stop:
            last = stop.value
    assert len(ours) == len(theirs) == STEPS
    for step, (found, wanted) in enumerate(zip([*ours[1:], last], theirs, strict=True)):
        assert (found - wanted).abs().max() < 1e-5 * max(1, wanted.abs().max()), step


def estimates(model, *, image, label, x, source):
    conditioned = model.with_conditions(text_label(model, TEXT)[None], Guidance(image=image, label=label))
    denoise = conditioned._denoise(model.denoiser.path, torch.randn_like, conditioned._label)
    with torch.no_grad():
        return denoise(x, torch.tensor(0.4, dtype=torch.float64), source)


def plain(model, *, image, label, x, source):
    """The estimate with or without each condition, by itself."""
    used = None if image else torch.zeros(len(x), dtype=torch.bool)
    named = text_label(model, TEXT if label else "")[None]
    with torch.no_grad():
        return model.denoiser(x, torch.tensor(0.4, dtype=torch.float64), source, Conditions(named, used))


def test_guidance_identities(model):
    x, source = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    given = {"x": x, "source": source}
    none, one, both = (plain(model, image=image, label=label, **given) for image, label in ((0, 0), (1, 0), (1, 1)))
    assert torch.equal(estimates(model, image=1.0, label=1.0, **given), both)
    assert torch.allclose(estimates(model, image=1.0, label=0.0, **given), one, rtol=0, atol=1e-6)
    assert torch.allclose(estimates(model, image=0.0, label=0.0, **given), none, rtol=0, atol=1e-6)
    text_only = estimates(model, image=1.0, label=3.0, **given)
    assert torch.allclose(text_only, one + 3 * (both - one), rtol=0, atol=1e-5)
    image_only = estimates(model, image=3.0, label=1.0, **given)
    assert torch.allclose(image_only, none + 3 * (one - none) + (both - one), rtol=0, atol=1e-5)


def test_three_estimates_are_one_call(model, monkeypatch):
    calls, network = [], model.denoiser.network
    forward = type(network).forward

    def counted(self, x, *more):
        calls.append(len(x))
        return forward(self, x, *more)

    monkeypatch.setattr(type(network), "forward", counted)
    x, source = torch.randn(2, 2, 4, 8, 8)
    estimates(model, image=1.5, label=7.5, x=x, source=source)
    assert calls == [6]


def translated(folder, source, output, **more):
    """Translate with a pipeline; return the records of the outputs."""
    asked = request(source=str(source), model=f"diffusers:{folder}", output=output, **more)
    return [event.record for event in run(asked) if isinstance(event, Written)]


def test_from_the_shell(folder, tmp_path):
    picture(0, 24).save(tmp_path / "a.png")

    def made(name, **more):
        (record,) = translated(folder, tmp_path / "a.png", tmp_path / name, steps=3, **more)
        return record, Image.open(tmp_path / name).tobytes()

    record, usual = made("1.png", prompt=TEXT)
    assert (record["prompt"], record["guidance_scale"], record["image_guidance_scale"]) == (TEXT, 7.5, 1.5)
    _, same = made("2.png", prompt=TEXT, image_guidance_scale=1.5, guidance_scale=7.5)
    record, other = made("3.png", prompt=TEXT, image_guidance_scale=1.0)
    assert same == usual != other and record["image_guidance_scale"] == 1.0
    assert made("4.png", prompt="make it red")[1] != usual
    with pytest.raises(UsageError, match="needs a text"):
        made("5.png", guidance_scale=3.0)
    with pytest.raises(UsageError, match="is a bridge"):
        made("6.png", method="sdedit", prompt=TEXT)


def test_prompts_of_single_images(folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        picture(0, 24).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "prompts.txt").write_text(f"{TEXT}\nmake it red\n")

    def made(output, **more):
        found = translated(folder, tmp_path / "in", tmp_path / output, steps=2, **more)
        return found, [Image.open(tmp_path / output / f"{name}.png").tobytes() for name in "ab"]

    records, pixels = made("own", prompts=tmp_path / "prompts.txt", batch_size=2)
    assert [(each["prompt"], each["guidance_scale"]) for each in records] == [(TEXT, 7.5), ("make it red", 7.5)]
    first, second = made("first", prompt=TEXT)[1], made("second", prompt="make it red")[1]
    assert pixels == [first[0], second[1]]
    (tmp_path / "prompts.txt").write_text("a a a a a a a a a a a a a a a a a a a\nmake it red\n")
    with pytest.raises(UsageError, match="a text of 19 tokens"):
        made("long", prompts=tmp_path / "prompts.txt")


def test_a_table_of_the_registry_is_the_whole_pipeline(folder, hub, tmp_path):
    body = {name: (folder / name).read_bytes() for name in (INDEX, *files_of(folder / INDEX))}
    hub.add("timbrooks/instruct-pix2pix", body)
    with pytest.raises(ModelError, match="is not downloaded"):
        weights.path("instruct-pix2pix")
    assert [event.fresh for event in weights.pull(["instruct-pix2pix"]) if isinstance(event, Pulled)] == [True]
    assert [event.fresh for event in weights.pull(["instruct-pix2pix"]) if isinstance(event, Pulled)] == [False]
    picture(0, 24).save(tmp_path / "a.png")
    given = {"source": str(tmp_path / "a.png"), "output": tmp_path / "b.png", "prompt": TEXT, "steps": 2}
    (found,) = [event for event in run(request(model="instruct-pix2pix", **given)) if isinstance(event, Written)]
    assert found.record["model"] == "timbrooks/instruct-pix2pix"
    assert "-m instruct-pix2pix" in recreate(tmp_path / "b.png").command.replace("--model", "-m")
    good = [event for event in weights.verify(["instruct-pix2pix"]) if isinstance(event, Verified)]
    assert len(good) == len(body)
    assert weights.size("instruct-pix2pix") == sum(map(len, body.values()))
    list(weights.remove(["instruct-pix2pix"]))
    with pytest.raises(ModelError, match="is not downloaded"):
        weights.path("instruct-pix2pix")


def test_unusual_latents_are_refused(folder, tmp_path):
    other = write_instruct(tmp_path / "odd")
    config = other / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"shift_factor": 0.1}))
    with pytest.raises(ModelError, match="unusual latents"):
        load_pipeline(other)


def test_the_result_is_decoded(model):
    source = torch.rand(1, 3, 16, 16) * 2 - 1
    result = finish(model.translate(source, torch.randn_like, model.plan(steps=2)))
    assert result.shape == source.shape and result.isfinite().all()
