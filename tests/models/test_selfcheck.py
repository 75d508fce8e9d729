"""The self-check: which mistakes it tells by its figures alone, and which by a fingerprint; on the built-in model."""

import dataclasses

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models import TranslationModel, assemble, builtin_path
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.selfcheck import check_file, known_images, self_check
from ddbm_cli.registry import read_registry
from tests.tiny import tiny_card, tiny_weights, write_tiny

CARD, WEIGHTS = read_model(builtin_path())
WEIGHTS = {name: value.float() for name, value in WEIGHTS.items()}
RECORDED = read_registry()["sketch-to-3d-64"].fingerprint
HEAD = CARD.network["head_channels"]


def found(card=CARD, weights=WEIGHTS, recorded=()):
    denoiser = assemble(card)
    denoiser.network.load_state_dict(weights)
    return self_check(TranslationModel(card, denoiser.eval().requires_grad_(False)), recorded)


def predicting(**changes):
    return {"card": dataclasses.replace(CARD, prediction=CARD.prediction | changes)}


def on_path(**changes):
    return {"card": dataclasses.replace(CARD, path=CARD.path | changes)}


def changed(change):
    return {"weights": {name: change(name, value) for name, value in WEIGHTS.items()}}


def by_head(name, value):
    if ".qkv." not in name:
        return value
    parts = value.reshape(3, len(value) // (3 * HEAD), HEAD, *value.shape[1:])
    return parts.transpose(0, 1).reshape(value.shape)


def swapped(name, value):
    return value.roll(value.shape[1] // 2, dims=1) if name == "input_blocks.0.0.weight" else value


def noisy(share):
    random = torch.Generator().manual_seed(0)
    return lambda name, value: (
        value + share * value.std() * torch.randn(value.shape, generator=random) if value.ndim > 1 else value
    )


BY_FIGURES = {
    "time scaling": predicting(time_scale=100.0),
    "clock": predicting(c_noise="log-time"),
    "sigmas": predicting(sigma_data=0.5, sigma_source=0.5, cov=0.0),
    "concatenation": changed(swapped),
    "schedule far off": on_path(beta_d=10.0),
    "no training": {"weights": assemble(CARD).network.state_dict()},
    "noise on the weights": changed(noisy(0.4)),
}
BY_FINGERPRINT = {
    "beta_d": on_path(beta_d=4.0),
    "beta_d, less": on_path(beta_d=1.0),
    "order of attention": changed(by_head),
    "another step": changed(noisy(0.05)),
}


def test_the_built_in_model_is_right():
    right = found(recorded=RECORDED)
    assert right.faults == () and right.fatal == ""
    assert len(right.figures) == 9 and len(right.fingerprint) == 18


@pytest.mark.parametrize("mistake", BY_FIGURES)
def test_figures_tell(mistake):
    wrong = found(**BY_FIGURES[mistake], recorded=RECORDED)
    assert wrong.faults and "differ from those in the registry" in wrong.fatal


@pytest.mark.parametrize("mistake", BY_FINGERPRINT)
def test_a_fingerprint_finds_what_figures_do_not(mistake):
    wrong = found(**BY_FINGERPRINT[mistake], recorded=RECORDED)
    assert wrong.faults == () and "differ from those in the registry" in wrong.fatal


def test_without_a_recorded_fingerprint_no_difference_is_fatal():
    for mistakes in (BY_FIGURES, BY_FINGERPRINT):
        assert found(**next(iter(mistakes.values()))).fatal == ""


def test_half_precision_is_no_mistake():
    denoiser = assemble(CARD)
    denoiser.network.load_state_dict(WEIGHTS)
    half = TranslationModel(CARD, denoiser.eval().requires_grad_(False).bfloat16())
    assert self_check(half, RECORDED).fatal == ""


def test_numbers_out_of_range_are_fatal(tmp_path):
    card = tiny_card()
    loud = {
        name: value * 1e30 if "out.2" in name or "qkv" in name else value for name, value in tiny_weights(card).items()
    }
    denoiser = assemble(card)
    denoiser.network.load_state_dict({name: value.clamp(-3e38, 3e38) for name, value in loud.items()})
    assert "contains NaN or infinity" in self_check(TranslationModel(card, denoiser.half())).fatal


def test_a_file_that_fails_is_an_error(tmp_path):
    assert check_file(builtin_path(), RECORDED).faults == ()
    file = write_tiny(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match="the self-check failed"):
        check_file(file, [mark + 0.1 for mark in check_file(file).fingerprint])


@pytest.mark.parametrize("path", ["ve", "vp", "rectified", "brownian", "ve-bridge", "i2sb", "ddpm"])
def test_it_runs_on_every_kind_of_path(path):
    free = path in ("ve", "vp", "ddpm")
    card = tiny_card(path={"name": path}, kind="prior" if free else "bridge", concat_source=not free)
    card = dataclasses.replace(card, network=card.network | {"in_channels": 3 if free else 6})
    denoiser = assemble(card)
    denoiser.network.load_state_dict(tiny_weights(card))
    assert len(self_check(TranslationModel(card, denoiser.eval())).figures) == 9


def test_the_known_images_are_in_range():
    outlines, filled = known_images(64)
    assert outlines.shape == filled.shape == (1, 3, 64, 64)
    assert (outlines < 0).float().mean() < 0.2 and (filled < 0.9).any(1).float().mean() > 0.25
