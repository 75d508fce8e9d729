"""FSDP: processes that each hold a part of the model follow a single one, and write the same files."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from torch.testing._internal.distributed.fake_pg import FakeStore

from ddbm_cli.models.assemble import assemble
from ddbm_cli.objectives import Context, Denoising, UniformTimes
from ddbm_cli.training import Fit, Recipe
from ddbm_cli.training.batches import Batch
from ddbm_cli.training.processes import Processes
from ddbm_cli.training.sharding import part_of
from ddbm_cli.training.state import collect
from tests.tiny import tiny_card
from tests.training.interruptions import check_same, interrupted
from tests.training.processes import events, said, together
from tests.training.test_processes import BRIDGE, DISTILLED, SURE, follows, losses, pictures, trained
from tests.training.test_training import same, weights

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
"""As `accelerate launch --use_fsdp --fsdp_version 2` sets them."""

SETTINGS = [*SURE, "--ema", "0.5,0.9", "--clip-norm", 0.1, "--steps", 4, "--validate-every", 2, "--save-every", 2]
"""The norm of every gradient is above that limit."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("sharding"))


@pytest.fixture(scope="module")
def alone(root):
    """A run of one process, and its events."""
    return root / "alone", events(together(root, *SETTINGS, "-o", "alone", count=1))


@pytest.fixture(scope="module")
def divided(root):
    """The same run, divided between two processes."""
    return root / "divided", events(together(root, *SETTINGS, "-o", "divided", **FSDP))


def header(file):
    """The names, shapes and types of a file's tensors, and which values its header has."""
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        return {name: (each.get_shape(), each.get_dtype()) for name, each in tensors.items()}, set(opened.metadata())


def test_a_divided_run_follows_a_single_process(alone, divided):
    """Losses, gradient norms that are clipped, and the validations of two averages."""
    (one, first), (two, second) = alone, divided
    assert losses(second) == pytest.approx(losses(first), rel=1e-4) and len(losses(first)) == 4
    norms = [[event["gradient_norm"] for event in found if event["event"] == "stepped"] for found in (first, second)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4) and min(norms[0]) > 0.1
    assert follows(one, two)
    assert "2 processes; the model is divided by FSDP" in second[0]["facts"]["Device"]


def test_its_files_are_those_of_a_single_process(alone, divided):
    for name in ("state.safetensors", "model.safetensors", "best.safetensors"):
        assert header(alone[0] / name) == header(divided[0] / name)
    first, second = weights(alone[0]), weights(divided[0])
    for name, tensor in first.items():
        if "exp_avg" in name:
            assert torch.allclose(tensor, second[name], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_parts_of_a_batch_follow_the_whole(root, alone):
    parts = events(together(root, *SETTINGS, "--accumulate", 2, "-o", "parts", **FSDP))
    assert losses(parts) == pytest.approx(losses(alone[1]), rel=1e-4) and follows(alone[0], root / "parts")


@pytest.mark.slow
def test_recomputed_activations_are_bit_equal(root):
    trained(root, "dropout", *BRIDGE, steps=4, **FSDP)
    trained(root, "recomputed", *BRIDGE, "--checkpoint-activations", steps=4, **FSDP)
    assert same(weights(root / "dropout"), weights(root / "recomputed"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, FSDP), (1, {})),
        pytest.param((1, {}), (2, FSDP), marks=pytest.mark.slow),
        pytest.param((2, {}), (2, FSDP), marks=pytest.mark.slow),
    ],
)
def test_a_run_is_resumed_divided_or_not(root, alone, before, after):
    output = f"resumed-{before[0]}-{len(before[1])}-{after[0]}"
    events(
        together(root, *SETTINGS[:-6], "--steps", 2, "--validate-every", 2, "-o", output, count=before[0], **before[1])
    )
    found = events(together(root, "--resume", output, "--steps", 4, count=after[0], **after[1]))
    assert losses(found) == pytest.approx(losses(alone[1])[2:], rel=1e-4) and follows(alone[0], root / output)


@pytest.mark.slow
def test_kills_change_nothing(root, divided):
    kills = [{0: ("write", 1)}, {1: ("event", 4)}, {0: ("event", 3), 1: ("event", 3)}]
    assert interrupted(root, "killed", SETTINGS, kills, **FSDP) == 3
    check_same(root, "divided", "killed")


def test_a_dry_run_measures_a_divided_run(root):
    (planned,) = events(together(root, *SETTINGS, "--dry-run", **FSDP))
    assert {"Needs", "Memory", "Disk"} <= planned["facts"].keys()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([*DISTILLED, "--method", "ibmd:updates=1"], {}, "FSDP does not support this objective"),
        ([*BRIDGE, "--precision", "fp16"], {}, "FSDP does not support --precision fp16"),
        ([*BRIDGE, "--compile"], {}, "FSDP does not support --compile"),
        (BRIDGE, {"FSDP_OFFLOAD_PARAMS": "true"}, "--fsdp_offload_params is not supported"),
    ],
)
def test_what_cannot_be_divided_is_refused(root, arguments, environment, message):
    ended = together(root, *arguments, "-o", "refused", **FSDP, **environment)
    assert [each.code for each in ended] == [2, 2]
    (line,) = said(ended)
    assert line == f"Error: {message}"


# In this process


class Fixed:
    """The same batch in every step."""

    def __init__(self):
        self.modules, self.rows = {}, slice(None)

    def __len__(self):
        return 4

    def __getitem__(self, step):
        draw = torch.Generator().manual_seed(0)
        target, source, eps = torch.randn(3, 4, 3, 16, 16, generator=draw).unbind()
        return Batch(target[self.rows], source[self.rows], torch.rand(4, generator=draw)[self.rows], eps[self.rows])


@contextmanager
def one_of(count):
    """Processes of which this is the first; the others do not exist, and what they would send is arbitrary."""
    given = ("gloo", dist.HashStore()) if count == 1 else ("fake", FakeStore())
    dist.init_process_group(given[0], store=given[1], rank=0, world_size=count)
    try:
        yield Processes(count, 0, divided=True)
    finally:
        dist.destroy_process_group()


def fitted(processes, tmp_path):
    torch.manual_seed(0)
    loss = Denoising().create(Context(device=torch.device("cpu")))
    recipe = Recipe(steps=3, batch_size=4, warmup=0)
    state = tmp_path / "state.safetensors"
    return Fit(assemble(tiny_card()), Fixed(), UniformTimes(), recipe, loss=loss, state=state, processes=processes)


def kept(fit):
    """The bytes of weights, averages, moments and gradients in this process."""
    gradients = [weight.grad for weight in fit.denoiser.parameters()]
    return sum(part_of(tensor).nbytes for tensor in (*collect(*fit.parts()).values(), *gradients))


def test_each_process_holds_its_part_of_all_tensors(tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "mean", lambda self, values: values)
    sizes = []
    for count in (1, 4):
        with one_of(count) as processes:
            fit = fitted(processes, tmp_path)
            fit.try_step(fit.batches[0])
            sizes.append(kept(fit))
    weights = sum(weight.numel() for weight in assemble(tiny_card()).parameters())
    assert sizes[0] == pytest.approx(5 * 4 * weights, rel=0.01)
    assert sizes[1] == pytest.approx(sizes[0] / 4, rel=0.05)


def test_a_step_that_is_not_finite_changes_no_part(tmp_path):
    with one_of(1) as processes:
        fit = fitted(processes, tmp_path)
        fit.try_step(fit.batches[0])
        before = {name: part_of(tensor).clone() for name, tensor in collect(*fit.parts()).items()}
        batch = fit.batches[0]
        fit.optimization.gradient(replace(batch, target=batch.target * float("nan")), 1)
        fit.optimization.update(1e-3)
        after = collect(*fit.parts())
        assert all(torch.equal(before[name], part_of(tensor)) for name, tensor in after.items())
        fit.optimization.gradient(batch, 2)
        fit.optimization.update(1e-3)
        after = collect(*fit.parts())
        assert not all(torch.equal(before[name], part_of(tensor)) for name, tensor in after.items())
