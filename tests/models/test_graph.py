"""A plan as one CUDA graph: what can be tested without a GPU. `tests/test_gpu.py` compares the images of a real one."""

from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ddbm_cli.denoisers import PERTURBATIONS, Guidance
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.models import load_model
from ddbm_cli.models.graph import Inputs, PlanGraph
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.resolve import loading
from ddbm_cli.paths import PATHS
from ddbm_cli.registry.locate import finish as finished
from ddbm_cli.samplers import SAMPLERS, NoiseSource, Plan, Prior, default_grid, default_start, finish
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.tiny import NETWORK, picture, write_tiny


def again(run, seen):
    """As a graph on the CPU: what is recorded is computed once more at every replay, from the same buffers."""
    seen.append("captured")

    def replay():
        seen.append("replayed")
        return run()

    return replay


@pytest.fixture
def model(tmp_path):
    network = NETWORK | {"classes": 3, "in_channels": 7}
    file = write_tiny(tmp_path / "m.safetensors", network=network, noise_channels=1, condition_dropout=0.1)
    return load_model(file, device="cpu")


def source_of(count):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(count)) * 2 - 1


GUIDED = Guidance(image=1.5, label=2.0, perturbation=build(PERTURBATIONS, "noise:split=yes", what="perturbation"))


@pytest.mark.parametrize("guidance", [Guidance(), GUIDED], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", ["dbim:eta=1", "heun", "multistep:variable=lambda", "ecsi", "pc"])
def test_batches_of_a_graph_are_those_without_one(model, sampler, guidance):
    """The second batch is recorded; the third one is smaller, and padded."""
    graphed, seen = model.with_conditions(), []
    graphed.graph = PlanGraph(capture=partial(again, seen=seen))
    plan = model.plan(sampler, nfe=5)
    for number, count in enumerate((3, 3, 2, 1)):
        names, labels = [f"{number}{each}" for each in range(count)], torch.arange(count) % 3
        results, events = [], []
        for which in (model, graphed):
            one = which.with_conditions(labels, guidance)
            calls = one.translate(source_of(count), NoiseSource(0, names), plan)
            made = []
            results.append(finish(noted(calls, made)))
            events.append([(each.nfe, each.t) for each in made])
        assert torch.allclose(*results, atol=1e-5), number
        assert events[0] == events[1] and len(events[0]) == plan.nfe
    assert seen == ["captured", *["replayed"] * 3]


def noted(calls, made):
    """Pass on evaluations, and note them."""
    try:
        while True:
            made.append(event := next(calls))
            yield event
    except StopIteration as stop:
        return stop.value


def test_a_larger_batch_another_plan_and_another_guidance_begin_anew(model):
    graphed, seen = model.with_conditions(torch.tensor([1])), []
    graphed.graph = PlanGraph(capture=partial(again, seen=seen))
    for count, nfe, guidance in ((2, 3, 1.0), (2, 3, 1.0), (3, 3, 1.0), (3, 4, 1.0), (3, 4, 2.0)):
        one = graphed.with_conditions(torch.tensor([1]), Guidance(label=guidance))
        finish(one.translate(source_of(count), NoiseSource(0, list("abc")[:count]), model.plan("dbim", nfe=nfe)))
    assert seen == ["captured", "replayed"]


def test_results_of_a_graph_are_not_changed_by_the_next_batch():
    values = [torch.full((1, 1, 2, 2), each) for each in (1.0, 2.0, 3.0)]
    buffer = torch.zeros(1, 1, 2, 2)

    def capture(run):
        return lambda: buffer.copy_(run())

    def steps(inputs, noise):
        return 2 * inputs.source
        yield

    graph = PlanGraph(capture=capture)
    results = [finish(graph.run("key", steps, Inputs(each), torch.zeros_like)) for each in values]
    assert [float(each.mean()) for each in results] == [2.0, 4.0, 6.0]


def test_a_graph_that_does_not_fit_into_memory_is_given_up():
    """`Work` halves the batch then; the graph is recorded again in that size."""

    def full(run):
        raise torch.OutOfMemoryError("out of memory")

    def steps(inputs, noise):
        return inputs.source
        yield

    graph = PlanGraph(capture=full)
    finish(graph.run("key", steps, Inputs(torch.zeros(4, 1, 2, 2)), torch.zeros_like))
    with pytest.raises(RuntimeError, match="out of memory"):
        finish(graph.run("key", steps, Inputs(torch.zeros(4, 1, 2, 2)), torch.zeros_like))
    assert len(finish(graph.run("key", steps, Inputs(torch.zeros(2, 1, 2, 2)), torch.zeros_like))) == 2


class Copies(TorchDispatchMode):
    """Counts copies from the host to the device, here "meta"."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [each for each in args if isinstance(each, torch.Tensor)]
        moved = isinstance(result, torch.Tensor) and result.device.type == "meta"
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_) and moved:
            self.count += any(each.device.type == "cpu" for each in given)
        return result


class OneConvolution(torch.nn.Module):
    """In place of a network, most of whose operations torch decomposes slowly on the meta device."""

    def __init__(self, channels):
        super().__init__()
        self.layer = torch.nn.Conv2d(channels, 3, 1)

    def forward(self, x, time, *label):
        return self.layer(x) * time.view(-1, 1, 1, 1)


def meta_model(path, tmp_path, **changes):
    """A model on the meta device, which has no values: reading one raises, as a CUDA graph would."""
    kind = PATHS[path]
    prior = (
        {"kind": "prior", "concat_source": False, "network": NETWORK | {"in_channels": 3}} if kind.source_free else {}
    )
    card = {"path": {"name": path}, "prediction": {"name": "x0"}, **prior} | changes
    if prior:
        card["defaults"] = {"sampler": {"name": "implicit"}, "grid": {"name": "uniform"}, "start": {"name": "prior"},
                            "steps": 3}  # fmt: skip
    elif kind().noise_free:
        card["defaults"] = {"sampler": {"name": "implicit"}, "grid": {"name": "uniform"}, "start": {"name": "pinned"},
                            "steps": 3}  # fmt: skip
    model = load_model(write_tiny(tmp_path / f"{path}.safetensors", **card), device="cpu")
    model.denoiser.network = OneConvolution(model.card.network.get("in_channels", 6))
    model.denoiser.to("meta")
    return model


def plans(model):
    path = model.denoiser.path
    for kind in SAMPLERS.values():
        sampler = kind()
        if path.noise_free and sampler.needs_noise:
            continue
        start = Prior() if model.is_prior else default_start(path, sampler)
        grid = default_grid(path, sampler)
        yield Plan(path=path, sampler=sampler, grid=grid, start=start, steps=3)


def run_twice(model: TranslationModel, plan: Plan, mask=None) -> int:
    """Sample two batches without reading a value of the device; return the copies to it of the second one."""
    inputs = Inputs(torch.empty(2, 3, 16, 16, device="meta"), mask, model._label)
    finish(model._steps(inputs, torch.empty_like, plan))
    with Copies() as copies:
        finish(model._steps(inputs, torch.empty_like, plan))
    return copies.count


@pytest.mark.parametrize("path", PATHS)
def test_no_step_waits_for_the_device_or_copies_to_it(path, tmp_path):
    """Of every sampler and path; coefficients are made once per plan, for the first batch."""
    model = meta_model(path, tmp_path)
    for plan in plans(model):
        assert run_twice(model, plan) == 0, spell(plan.sampler)


@pytest.mark.parametrize("perturbation", [*PERTURBATIONS, "noise:split=yes"])
def test_no_guided_step_waits_for_the_device(perturbation, tmp_path):
    changes = {"network": NETWORK | {"classes": 3, "in_channels": 7}, "condition_dropout": 0.1, "noise_channels": 1,
               "prediction": {"name": "preconditioned"}}  # fmt: skip
    model = meta_model("vp-bridge", tmp_path, **changes)
    chosen = build(PERTURBATIONS, perturbation, what="perturbation")
    guided = model.with_conditions(
        torch.empty(2, dtype=torch.long, device="meta"), Guidance(image=1.5, label=2.0, perturbation=chosen)
    )
    assert run_twice(guided, guided.plan("dbim:eta=1", nfe=4)) == 0
    assert run_twice(guided, guided.plan("dbim", nfe=4), torch.empty(2, 1, 16, 16, device="meta")) == 0


def test_no_network_waits_for_the_device(tmp_path):
    model = load_model(write_tiny(tmp_path / "m.safetensors", network=NETWORK | {"classes": 3}), device="cpu")
    model.denoiser.to("meta")
    labelled = model.with_conditions(torch.empty(2, dtype=torch.long, device="meta"))
    assert run_twice(labelled, labelled.plan("dbim", nfe=2)) == 0


def test_a_sampler_that_reads_the_device_is_found(tmp_path):
    """The two tests above can fail."""
    model = meta_model("vp-bridge", tmp_path)

    class Reading(SAMPLERS["implicit"]):
        def step(self, bridge, x, interval, history):
            if x.any():
                x = x + torch.ones(1, 1, 1, 1).to(x)
            return (yield from super().step(bridge, x, interval, history))

    class Copying(SAMPLERS["implicit"]):
        def step(self, bridge, x, interval, history):
            return (yield from super().step(bridge, x + torch.ones(1, 1, 1, 1).to(x), interval, history))

    plan = model.plan("dbim", nfe=4)
    with pytest.raises((RuntimeError, NotImplementedError)):
        run_twice(model, Plan(path=plan.path, sampler=Reading(), grid=plan.grid, start=plan.start, steps=3))
    copying = Plan(path=plan.path, sampler=Copying(), grid=plan.grid, start=plan.start, steps=3)
    assert run_twice(model, copying) == 3


def test_graphs_are_refused_without_a_gpu_before_the_model_is_read(tmp_path, ddbm):
    with pytest.raises(UsageError, match="--graph needs a CUDA device, and the device is 'cpu'") as refused:
        finished(loading(tmp_path / "missing.safetensors", device="cpu", graph=True))
    assert refused.value.hint == "remove --graph, or pass --device cuda"
    picture(1).save(tmp_path / "in.png")
    image = str(tmp_path / "in.png")
    sample = ["sample", "-o", str(tmp_path / "out"), "-n", "1"]
    for command in (["translate", image, str(tmp_path / "out.png")], sample, ["compare", image]):
        code, _, said = ddbm(*command, "--graph", "--device", "cpu")
        assert code == 2 and len(said.strip().splitlines()) == 2, said


def test_trajectories_are_refused_with_a_graph(tmp_path):
    picture(1).save(tmp_path / "in.png")
    asked = TranslateRequest(source=str(tmp_path / "in.png"), output=tmp_path / "o.png", graph=True, gif=True)
    with pytest.raises(UsageError, match="keeps no trajectories"):
        list(run(asked))
    assert load_model(write_tiny(tmp_path / "m.safetensors"), device="cpu").without_graph().graph is None
