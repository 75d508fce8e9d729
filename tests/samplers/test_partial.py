"""Trajectories of bridges that end on the way: --strength."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import VE, BrownianBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.samplers import SAMPLERS, NoiseSource, Pinned, Plan, Uniform, default_grid, default_start, finish, sample
from ddbm_cli.samplers.base import Bridge
from ddbm_cli.samplers.plan import weight_time
from tests.tiny import picture, write_tiny

PATHS = [VPBridge(), VEBridge(), BrownianBridge(), RectifiedFlow()]
SOURCE = torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 3, 2, 2)
TARGET = SOURCE.flip(1) ** 2


def plan_of(path, sampler="implicit", strength=0.5, steps=6):
    chosen = SAMPLERS[sampler]()
    grid, start = default_grid(path, chosen), default_start(path, chosen)
    return Plan(path=path, sampler=chosen, grid=grid, start=start, steps=steps, strength=strength)


def run(plan, denoise=lambda x, t, source: TARGET, source=SOURCE):
    calls = sample(
        denoise,
        Bridge(plan.path, source, NoiseSource(0, ["x"])),
        plan.sampler,
        plan.start,
        plan.times,
        partial=plan.is_partial,
    )
    events = []
    while True:
        try:
            events.append(next(calls))
        except StopIteration as stop:
            return stop.value, len(events)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_the_result_is_the_state_without_its_noise(path, sampler):
    """A network that is always right: a x_T + b x_0, at the time where b / (a + b) is the strength."""
    try:
        plan = plan_of(path, sampler)
    except UsageError:
        pytest.skip("the sampler does not work on this path")
    a, b, _ = path.coefficients(weight_time(path, 0.5))
    assert float(b / (a + b)) == pytest.approx(0.5)
    result, calls = run(plan)
    torch.testing.assert_close(result, a * SOURCE + b * TARGET, rtol=1e-6, atol=1e-6)
    assert calls == plan.nfe < plan_of(path, sampler, 1.0).nfe


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_ends_are_the_source_and_the_whole_trajectory(path):
    nothing, calls = run(plan_of(path, strength=0.0))
    assert torch.equal(nothing, SOURCE) and calls == plan_of(path, strength=0.0).nfe == 0
    almost, _ = run(plan_of(path, strength=1e-9))
    torch.testing.assert_close(almost, SOURCE)
    plan = plan_of(path, strength=1.0)
    whole = finish(
        sample(
            lambda x, t, s: torch.tanh(x),
            Bridge(path, SOURCE, NoiseSource(0, ["x"])),
            plan.sampler,
            plan.start,
            plan.times,
        )
    )
    assert torch.equal(run(plan, lambda x, t, s: torch.tanh(x))[0], whole)


def test_a_budget_is_met_and_more_strength_is_farther_from_the_source():
    plan = plan_of(BrownianBridge())
    distances = []
    for strength in (0.2, 0.5, 0.8):
        partial = plan_of(BrownianBridge(), strength=strength).within(12)
        assert partial.nfe == 12 and partial.strength == strength
        distances.append(float((run(partial)[0] - SOURCE).abs().mean()))
    assert sorted(distances) == distances and distances[0] > 0
    assert plan_of(BrownianBridge(), strength=0.0).within(12).nfe == 0
    assert plan.describe()["strength"] == 0.5 and "strength" not in plan_of(BrownianBridge(), strength=1.0).describe()


def test_a_path_without_a_source_has_no_way():
    with pytest.raises(UsageError, match="no source"):
        Plan(path=VE(), sampler=SAMPLERS["implicit"](), grid=Uniform(), start=Pinned(), steps=3, strength=0.5)


def test_the_command_records_it_and_recreates_it(ddbm, tmp_path):
    model = write_tiny(tmp_path / "m.safetensors")
    picture(0).save(tmp_path / "x.png")
    images = {}
    for strength in ("0", "0.5", "1"):
        output = tmp_path / f"{strength}.png"
        code, _, err = ddbm("translate", tmp_path / "x.png", output, "-m", model, "--strength", strength)
        assert code == 0, err
        images[strength] = np.asarray(Image.open(output), dtype=int)
    assert ddbm("translate", tmp_path / "x.png", tmp_path / "plain.png", "-m", model)[0] == 0
    assert (images["1"] == np.asarray(Image.open(tmp_path / "plain.png"))).all()
    assert (images["0"] == np.asarray(picture(0), dtype=int)).all()
    assert (images["0.5"] != images["0"]).any() and (images["0.5"] != images["1"]).any()
    record = json.loads(ddbm("show", tmp_path / "0.5.png", "--json")[1])
    assert record["strength"] == 0.5 and record["nfe"] > 0
    command = ddbm("show", tmp_path / "0.5.png", "--command", "--search", tmp_path)[1].decode()
    assert "--strength 0.5" in command
    _, _, err = ddbm("translate", tmp_path / "x.png", tmp_path / "0.5.png", "-m", model)
    assert "kept although made with other settings" in err
    words = ("translate", tmp_path / "x.png", tmp_path / "ddib.png", "--method", "ddib", "--source-model", model)
    code, _, err = ddbm(*words, "-m", model, "--strength", "0.5")
    assert code == 2 and "--strength is for --method bridge or sdedit" in err
