"""How a step is computed: parts, processes, number types and recomputed activations change no more than rounding."""

from functools import partial

import pytest
import torch

from ddbm_cli.foundation.devices import seed_everywhere
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Noticed, Stepped
from ddbm_cli.tasks.train import request, run
from tests.tiny import SMALLEST, write_pairs
from tests.training.test_training import same, tiny_request, weights

STEPS = 20


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process, in one part."""
    root = tmp_path_factory.mktemp("whole")
    write_pairs(root / "pairs", 12)
    losses = [event.loss for event in run(tiny_request(root, steps=STEPS, lr_decay_fraction=0.0)) if is_step(event)]
    return root, losses


def is_step(event):
    return isinstance(event, Stepped)


def networks(folder):
    return {
        name: value.double() for name, value in weights(folder).items() if name.startswith(("network.", "average."))
    }


def scores(folder):
    """The validation losses and errors of a run, by step."""
    rows = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()[1:]]
    return {int(step): [float(value) for value in values] for step, *values in rows}


def follows(first, second):
    """Whether the models of two runs give the same validation results within 1e-4, at every step that both validated.

    Weights are not compared one by one: a normalisation cancels some biases, and AdamW moves those by rounding errors.
    """
    one, other = scores(first), scores(second)
    steps = one.keys() & other.keys()
    return STEPS in steps and all(one[step] == pytest.approx(other[step], rel=1e-4) for step in steps)


def test_parts_of_a_batch_follow_the_whole(root, whole):
    events = list(run(tiny_request(root, "parts", steps=STEPS, lr_decay_fraction=0.0, compute={"accumulate": 2})))
    assert follows(whole[0] / "run", root / "parts")
    losses = [event.loss for event in events if is_step(event)]
    assert losses == pytest.approx(whole[1], rel=1e-4)
    assert "2 parts of 2 pairs" in events[0].facts["Device"]


def test_what_torch_draws_follows_from_the_seed_of_a_step():
    drawn = []
    for set_seed in (torch.manual_seed, partial(seed_everywhere, device=torch.device("cpu"))):
        set_seed(7)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_dropout_of_parts_is_that_of_the_whole(root):
    """It depends on the step and the image, not on the part."""
    losses = []
    for count in (1, 2, 4):
        more = {"network": f"{SMALLEST},dropout=0.1", "lr_decay_fraction": 0.0, "compute": {"accumulate": count}}
        events = run(tiny_request(root, f"dropout-{count}", steps=6, **more))
        losses.append([event.loss for event in events if is_step(event)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_recomputed_activations_are_bit_equal(root, whole):
    compute = {"checkpoint_activations": True}
    list(run(tiny_request(root, "recomputed", steps=STEPS, lr_decay_fraction=0.0, compute=compute)))
    assert same(weights(whole[0] / "run"), weights(root / "recomputed"))


def test_activations_are_not_kept(root):
    from ddbm_cli.foundation.settings import build
    from ddbm_cli.networks import NETWORKS
    from ddbm_cli.training import optimization

    def kept_bytes(recompute):
        network = build(NETWORKS, SMALLEST, what="network").create()
        if recompute:
            optimization._recompute(network)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            network(torch.randn(2, 6, 16, 16), torch.rand(2)).sum()
        return sum(sizes)

    assert kept_bytes(True) < 0.5 * kept_bytes(False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute": {"accumulate": 3}}, "4 pairs cannot be divided into 3 equal parts"),
        (
            {"objective": "pix2pix", "network": "pix2pix:channels=8,depth=3", "compute": {"accumulate": 2}},
            "second network",
        ),
        ({"network": "pix2pix:channels=8,depth=3", "compute": {"checkpoint_activations": True}}, "no blocks"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_is_refused(root, changes, message):
    with pytest.raises(UsageError, match=message):
        list(run(tiny_request(root, **changes)))


def test_half_precision_is_scaled_and_resumed(root):
    """fp16 learns as fp32 does, its scale is part of the state, and overflowing steps are skipped and counted."""
    list(run(tiny_request(root, "single", steps=20)))
    list(run(tiny_request(root, "half", steps=20, precision="fp16")))
    single, half = networks(root / "single"), networks(root / "half")
    assert not same(single, half)
    assert all((single[name] - half[name]).norm() < 0.1 * single[name].norm() + 0.05 for name in single)
    stopping = tiny_request(root, "cut", steps=20, precision="fp16")
    list(run(stopping, stop=lambda: (root / "cut" / "samples").exists()))
    list(run(request({}, resume=root / "cut")))
    assert same(weights(root / "half"), weights(root / "cut"))


def test_steps_that_overflow_are_skipped_and_counted(root, monkeypatch):
    from ddbm_cli.training import optimization

    monkeypatch.setattr(optimization, "FIRST_SCALE", 2.0**40)
    events = list(run(tiny_request(root, steps=40, network=SMALLEST, precision="fp16")))
    assert any(isinstance(event, Noticed) and "were skipped" in event.message for event in events)
    with pytest.raises(Exception, match="diverged"):
        list(run(tiny_request(root, "worse", steps=40, network=SMALLEST, precision="fp16", max_skipped=2)))


def test_the_norm_of_the_gradient_is_reported(root):
    events = [event for event in run(tiny_request(root, steps=3)) if is_step(event)]
    assert all(event.gradient_norm > 0 for event in events)


@pytest.mark.slow
def test_a_compiled_network_follows_the_plain_one(root):
    list(run(tiny_request(root, "plain", steps=20)))
    list(run(tiny_request(root, "compiled", steps=20, compute={"compile": True})))
    assert follows(root / "plain", root / "compiled")


@pytest.mark.gpu
def test_no_step_waits_for_the_device(root):
    from itertools import islice

    def no_waiting(asked):
        events = run(asked)
        list(islice((event for event in events if is_step(event)), 1))
        torch.cuda.set_sync_debug_mode("error")
        try:
            fit = events.gi_frame.f_locals["fit"]
            for step in range(fit.step, fit.step + 5):
                fit.optimization.gradient(fit.batches[step], step)
                fit.optimization.update(1e-4)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    no_waiting(
        request({"data": [root / "pairs"], "output": root / "gpu", "network": SMALLEST, "size": 16, "device": "cuda"})
    )


@pytest.mark.parametrize(
    ("variable", "name"), [("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_a_launcher_that_would_divide_the_model_is_refused(root, monkeypatch, variable, name):
    monkeypatch.setenv(variable, "true")
    with pytest.raises(UsageError, match=f"divide a model by {name}"):
        list(run(tiny_request(root, steps=1)))
    monkeypatch.setenv(variable, "false")
    list(run(tiny_request(root, steps=1)))
