"""`ddbm train --task distill`: a student of a model, by the same command and with the same guarantees."""

import pytest
import torch

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Planned, Validated
from ddbm_cli.models import load_model, write_model
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from tests.codecs.test_codecs import SMALL
from tests.tiny import NETWORK, tiny_card, tiny_weights, write_pairs, write_tiny
from tests.training.interruptions import interrupted, stopped_and_resumed
from tests.training.processes import events, together
from tests.training.test_training import same, weights

METHODS = ("cbd", "cbt", "ibmd:updates=1", "realuid:updates=1")


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    write_tiny(tmp_path / "teacher.safetensors")
    return tmp_path


def asked(root, output="run", **changes):
    recipe = {"steps": 6, "batch_size": 4, "save_every": 3, "validate_every": 6} | changes.pop("recipe", {})
    own = {"task": "distill", "teacher": str(root / "teacher.safetensors"), "method": "ibmd:updates=1"}
    body = {"data": [root / "pairs"], "output": root / output, "val_share": 0.3, "device": "cpu"}
    return request(body | own | changes | {"recipe": recipe})


@pytest.mark.parametrize("method", METHODS)
def test_a_student_takes_two_evaluations_and_has_the_teachers_settings(root, method):
    events = list(run(asked(root, method=method)))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    teacher = load_model(root / "teacher.safetensors", device="cpu")
    assert model.plan().nfe == 2 and model.plan().draws == 1
    assert model.denoiser.network.config == teacher.denoiser.network.config
    assert model.denoiser.path == teacher.denoiser.path
    assert model.card.training["teacher"] == "teacher.safetensors" and model.card.training["method"] == method
    scored = next(event for event in events if isinstance(event, Validated))
    assert scored.scores["loss"] == scored.scores["mse"], "a student is judged by its images"
    planned = next(event for event in events if isinstance(event, Planned))
    assert method in planned.facts["Distils"] and "teacher.safetensors" in planned.facts["Distils"]


def test_a_student_begins_as_its_teacher(root):
    list(run(asked(root, recipe={"steps": 1, "learning_rate": 1e-12})))
    student, teacher = (
        load_model(file, device="cpu").denoiser.network.state_dict()
        for file in (root / "run" / "model.safetensors", root / "teacher.safetensors")
    )
    assert all(torch.allclose(value, teacher[name], atol=1e-3) for name, value in student.items())


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_bit_identical(root, method):
    given = {"method": method, "adversarial": 0.05}
    list(run(asked(root, "whole", **given)))
    stopped_and_resumed(asked(root, "cut", **given))
    assert same(weights(root / "whole"), weights(root / "cut"))


def test_a_kill_changes_nothing(root):
    given = {"method": "realuid:updates=1", "recipe": {"steps": 12}}
    list(run(asked(root, "whole", **given)))
    list(run(asked(root, "killed", **given), stop=lambda: True))
    assert interrupted(root, "killed", [], [{0: ("event", 7)}], count=1) == 1
    assert same(weights(root / "whole"), weights(root / "killed"))


@pytest.mark.slow
def test_two_processes_train_one_student(root):
    options = ["pairs", "--task", "distill", "--teacher", "teacher.safetensors", "--method", "ibmd:updates=1"]
    sizes = ["-b", "4", "--validate-every", "4", "--val-share", "0.3", "--lr-decay-fraction", "0"]
    options += [*sizes, "--adversarial", "0.05"]
    first, *_ = events(together(root, *options, "--steps", 4, "-o", "two"))
    assert "2 processes" in first["facts"]["Device"] and (root / "two" / "model.safetensors").exists()
    events(together(root, *options, "--steps", 2, "-o", "cut"))
    events(together(root, "--resume", "cut", "--steps", 4))
    assert same(weights(root / "two"), weights(root / "cut")), "the fake bridge and the critic are those of both"


def test_one_evaluation_with_noise_as_an_input_gives_different_images(root):
    list(run(asked(root, noise_channels=1, recipe={"steps": 1, "learning_rate": 1e-12})))
    model, teacher = (
        load_model(root / name, device="cpu") for name in ("run/model.safetensors", "teacher.safetensors")
    )
    plan = model.plan()
    assert (plan.nfe, model.card.noise_channels, model.draws_noise(plan)) == (1, 1, True)
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    at_once = teacher.plan("implicit", "uniform:gap=1e-4,t_min=0", 1, start={"name": "pinned"})
    made, wanted = (
        finish(each.translate(source, NoiseSource(0, ["a", "b"]), how))
        for each, how in ((model, plan), (teacher, at_once))
    )
    assert torch.allclose(made, wanted, atol=0.02), "the weights of the new channel are 0"
    list(run(asked(root, "trained", noise_channels=1, recipe={"learning_rate": 1e-2})))
    model = load_model(root / "trained" / "model.safetensors", device="cpu")
    one, other = (finish(model.translate(source, NoiseSource(seed, ["a", "b"]), plan)) for seed in (0, 1))
    assert not torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("change", [{"adversarial": 0.05}, {"method": "cbd"}])
def test_every_option_changes_the_student(root, change):
    list(run(asked(root)))
    list(run(asked(root, "other", **change)))
    one, other = (load_model(root / name / "model.safetensors", device="cpu") for name in ("run", "other"))
    pairs = zip(one.denoiser.parameters(), other.denoiser.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)


def write_latent(root, name="latent", seed=0):
    """Write a bridge between latents of 8x8, whose autoencoder is its own."""
    network = NETWORK | {"in_channels": 8, "out_channels": 4, "patch": 1}
    card = tiny_card(network=network, codec=SMALL, preprocess={"size": 32}, clip=False)
    write_model(root / f"{name}.safetensors", card, tiny_weights(card, seed))
    return {"data": [write_pairs(root / "large", 12, 32)], "teacher": str(root / f"{name}.safetensors")}


@pytest.mark.parametrize(
    "method", [METHODS[0], METHODS[2], *(pytest.param(each, marks=pytest.mark.slow) for each in METHODS[1::2])]
)
def test_a_student_of_a_model_of_latents_has_its_autoencoder(root, method):
    given = write_latent(root) | {"method": method, "adversarial": 0.05}
    list(run(asked(root, "whole", **given)))
    student, teacher = (
        load_model(root / name, device="cpu") for name in ("whole/model.safetensors", "latent.safetensors")
    )
    assert student.plan().nfe == 2 and not student.card.clip and student.card.codec == teacher.card.codec
    theirs = teacher.codec.state_dict()
    assert all(torch.allclose(value, theirs[key], atol=1e-3) for key, value in student.codec.state_dict().items())
    assert not same(student.denoiser.state_dict(), teacher.denoiser.state_dict())
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    assert finish(student.translate(source, NoiseSource(0, ["a", "b"]), student.plan())).shape == source.shape
    stopped_and_resumed(asked(root, "cut", **given))
    assert same(weights(root / "whole"), weights(root / "cut"))


def test_one_evaluation_of_latents(root):
    list(run(asked(root, **write_latent(root), noise_channels=1)))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.plan().nfe == 1 and model.denoiser.network.config.in_channels == 9


def test_another_autoencoder_than_the_teachers_is_refused(root):
    given = write_latent(root)
    with pytest.raises(UsageError, match="has the autoencoder of its teacher"):
        asked(root, **given, codec=given["teacher"])
    other = write_latent(root, "other", seed=1)["teacher"]
    with pytest.raises(UsageError, match="has another autoencoder than --from"):
        list(run(asked(root, **given, start_from=other)))


def test_latents_smaller_than_a_patch_have_no_critic(root):
    given = write_latent(root) | {"size": 16, "adversarial": 0.05}
    with pytest.raises(UsageError, match="states of 4x4 are too small"):
        list(run(asked(root, **given)))


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"teacher": None}, "needs a model to distill", "--teacher"),
        ({"method": "ibmd:updates=0"}, "updates", ""),
        ({"method": "magic"}, "unknown method", "ibmd"),
        ({"path": "brownian"}, "the path is not that of the teacher", "leave out --path"),
        ({"teacher": "nowhere.safetensors"}, "nowhere.safetensors", ""),
        ({"recipe": {"batch_size": 3}}, "batches of 3 cannot be divided into 2 parts", "--batch-size 4"),
        ({"method": "ibmd", "compute": {"accumulate": 2}}, "trains a second network", "--accumulate"),
        ({"adversarial": -1.0}, "adversarial", ""),
        ({"noise_channels": 65}, "noise", ""),
        (
            {"task": "bridge", "teacher": None, "noise_channels": 1},
            "--noise-channels is an option of",
            "--task distill",
        ),
        ({"task": "bridge", "teacher": None, "adversarial": 0.1}, "--adversarial is an option of", "--task distill"),
        ({"task": "bridge"}, "--teacher is an option of --task distill", "--task distill"),
    ],
)
def test_wrong_values_are_answered(root, change, message, hint):
    with pytest.raises(DdbmError) as error:
        list(run(asked(root, **change)))
    assert message in error.value.message and hint in (error.value.hint or ""), error.value


def test_a_prior_cannot_be_a_teacher(root):
    prior = {"kind": "prior", "concat_source": False, "network": NETWORK | {"in_channels": 3}, "path": {"name": "ve"}}
    start = {"sampler": {"name": "heun"}, "grid": {"name": "karras"}, "start": {"name": "prior"}, "steps": 2}
    write_tiny(root / "prior.safetensors", **prior, defaults=start)
    with pytest.raises(UsageError, match="does not translate images"):
        list(run(asked(root, teacher=str(root / "prior.safetensors"))))
