"""DDIB: two priors make a bridge; between Gaussians it is the map that moves least."""

import dataclasses

import pytest
import torch
from torch import nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import DDIB, TranslationModel, load_model, write_model
from ddbm_cli.paths import VE, VP
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.events import Written
from ddbm_cli.tasks.translate import request, run
from tests.tiny import picture, tiny_card, tiny_weights, write_tiny

DEFAULTS = {
    "sampler": {"name": "heun", "churn": 0.0},
    "grid": {"name": "karras"},
    "start": {"name": "prior"},
    "steps": 6,
}
PRIOR = {
    "task": "-> thing",
    "kind": "prior",
    "concat_source": False,
    "path": {"name": "ve"},
    "network": tiny_card().network | {"in_channels": 3},
    "defaults": DEFAULTS,
}


class Gaussian(nn.Module):
    """The exact denoiser of pixels that are N(mean, std^2)."""

    sees_source = False

    def __init__(self, path, mean, std):
        super().__init__()
        self.path, self.mean, self.std = path, mean, std
        self.nothing = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, t, source):
        _, b, c = self.path.coefficients(t)
        return self.mean + b * self.std**2 / (b**2 * self.std**2 + c**2) * (x - b * self.mean)


def gaussian(path, mean, std):
    return TranslationModel(dataclasses.replace(tiny_card(**PRIOR), clip=False), Gaussian(path, mean, std))


@pytest.mark.parametrize("paths", [(VE(), VE()), (VP(), VE()), (VP(), VP())], ids=lambda paths: paths[0].name)
def test_between_gaussians_it_is_the_optimal_map(paths):
    """In one dimension that is the increasing one: mean to mean, spread to spread. The error falls with the steps."""
    ddib = DDIB(gaussian(paths[0], 0.4, 0.3), gaussian(paths[1], -0.2, 0.6))
    source = 0.4 + 0.3 * torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = -0.2 + 0.6 / 0.3 * (source - 0.4)
    errors = []
    for steps in (20, 40, 160):
        result = finish(ddib.translate(source, torch.zeros_like, ddib.plan(steps=steps)))
        errors.append(float((result - wanted).abs().mean()))
    assert errors[2] < 0.02 and errors[2] < 0.6 * errors[1] < 0.6**2 * 1.7 * errors[0]


@pytest.fixture
def priors(tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, file in enumerate(files):
        card = tiny_card(name=file.stem, **PRIOR)
        write_model(file, card, tiny_weights(card, seed))
    return files


def test_a_budget_is_of_both_ways(priors):
    ddib = DDIB(*(load_model(file, device="cpu") for file in priors))
    for asked in ({}, {"nfe": 9}, {"steps": 4}, {"sampler": "heun", "nfe": 20}):
        plan = ddib.plan(**asked)
        calls = list(ddib.translate(torch.zeros(1, 3, 16, 16), NoiseSource(0, ["a"]), plan))
        assert [call.nfe for call in calls] == list(range(1, plan.nfe + 1))
        assert abs(plan.nfe - asked.get("nfe", plan.nfe)) <= 2, "one step is 2 to 4 evaluations, of both ways"


def test_from_the_shell(priors, tmp_path):
    picture(0, 20).save(tmp_path / "x.png")
    common = {"source": str(tmp_path / "x.png"), "method": "ddib", "steps": 3}
    events = list(run(request(**common, source_model=str(priors[0]), model=str(priors[1]), output=tmp_path / "1.png")))
    list(run(request(**common, source_model=str(priors[1]), model=str(priors[1]), output=tmp_path / "2.png")))
    record = next(event.record for event in events if isinstance(event, Written))
    assert record["model"] == "a-to-b"
    assert open_picture(tmp_path / "1.png").tobytes() != open_picture(tmp_path / "2.png").tobytes()


def test_priors_that_do_not_fit_are_refused(priors, tmp_path):
    picture(0, 20).save(tmp_path / "x.png")
    given = {"source": str(tmp_path / "x.png"), "output": tmp_path / "y.png", "model": str(priors[0])}
    with pytest.raises(UsageError, match="needs two priors"):
        list(run(request(**given, method="ddib")))
    with pytest.raises(UsageError, match="--source-model is for --method ddib"):
        list(run(request(**given, source_model=str(priors[1]))))
    bridge = write_tiny(tmp_path / "bridge.safetensors")
    with pytest.raises(UsageError, match="DDIB needs two"):
        list(run(request(**given, method="ddib", source_model=str(bridge))))
