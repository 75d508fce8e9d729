"""What only a GPU can show. Run with: python -m pytest -m gpu"""

import numpy as np
import pytest
import torch

from ddbm_cli.denoisers import PERTURBATIONS, Guidance
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import load_model
from ddbm_cli.models.graph import PlanGraph
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.translate import TranslateRequest
from ddbm_cli.tasks.translate import run as translate
from ddbm_cli.training import Stepped
from tests.benchmarks import stable_diffusion
from tests.tiny import picture, write_pairs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("sampler", [None, "dbim:eta=1", "heun", "dbim-3"])
def test_the_gpu_gives_the_cpus_image(sampler):
    """The noise is the same, so in float32 the pictures are, but for rounding."""
    source = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    results = []
    for device in ("cpu", "cuda"):
        model = load_model(device=device, dtype="fp32")
        results.append(finish(model.translate(source, NoiseSource(0, list("abc")), model.plan(sampler))))
    assert (results[0] - results[1]).abs().mean() < 1e-2


def test_bfloat16_is_close_to_float32():
    source = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    results = []
    for dtype in ("fp32", "bf16"):
        model = load_model(device="cuda", dtype=dtype)
        results.append(finish(model.translate(source, NoiseSource(0, list("ab")), model.plan())))
    assert (results[0] - results[1]).abs().mean() < 0.05


def test_a_folder_on_the_gpu(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(40):
        picture(index, 64).save(tmp_path / "in" / f"{index}.png")
    list(translate(TranslateRequest(source=str(tmp_path / "in"), output=tmp_path / "out", device="cuda")))
    assert len([open_picture(path) for path in (tmp_path / "out").iterdir()]) == 40


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_the_gpu_learns(tmp_path, precision):
    write_pairs(tmp_path / "pairs", 12)
    network = "adm:channels=16,multipliers=1-2,blocks=1,attention=2,head_channels=16,patch=2"
    recipe = {"steps": 200, "batch_size": 4, "learning_rate": 5e-3, "precision": precision, "warmup": 2}
    given = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "network": network, "size": 16}
    events = run(request({**given, "augment": (), "device": "cuda", "recipe": recipe}))
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])


def test_a_training_copies_from_the_gpu_only_where_losses_are_read(tmp_path):
    """Every copy to the host waits for the device. The profiler sees those of all libraries."""
    from torch.profiler import ProfilerActivity, profile

    write_pairs(tmp_path / "pairs", 12)
    network = "adm:channels=16,multipliers=1-2,blocks=1,attention=2,head_channels=16,patch=2"
    recipe = {"steps": 1000, "batch_size": 4, "save_every": 1000, "validate_every": 1000, "precision": "bf16"}
    given = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "network": network, "size": 16}
    events = run(request({**given, "device": "cuda", "recipe": recipe}))
    stepped = (event for event in events if isinstance(event, Stepped))
    first = next(stepped).step
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        reads = [next(stepped).step for _ in range(3)]
    events.close()
    copies = [event.name for event in profiler.events() if "Memcpy DtoH" in event.name]
    assert reads[-1] - first >= 3 * 10 and len(copies) <= 2 * len(reads)


@pytest.mark.parametrize("sampler", ["dbim:eta=1", "heun", "multistep:variable=lambda", "dbmsolver", "ecsi", "pc"])
def test_a_graph_makes_the_images_of_the_eager_model(sampler):
    """The second batch is the first that is replayed; the last one is padded."""
    eager, graphed = load_model(device="cuda", dtype="fp32"), load_model(device="cuda", dtype="fp32")
    graphed.graph = PlanGraph()
    plan = eager.plan(sampler, nfe=8)
    for number, count in enumerate((4, 4, 3, 1)):
        source = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(number)) * 2 - 1
        names = [f"{number}-{each}" for each in range(count)]
        results = [finish(model.translate(source, NoiseSource(0, names), plan)) for model in (eager, graphed)]
        assert (results[0] - results[1]).abs().mean() < 1e-3, number


def test_a_guided_graph_makes_the_images_of_the_eager_model():
    eager, graphed = load_model(device="cuda", dtype="fp32"), load_model(device="cuda", dtype="fp32")
    graphed.graph = PlanGraph()
    guidance = Guidance(perturbation=build(PERTURBATIONS, "noise:split=yes", what="perturbation"))
    plan = eager.plan("dbim:eta=1", nfe=6)
    for number in range(3):
        source = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(number)) * 2 - 1
        results = [
            finish(model.with_conditions(None, guidance).translate(source, NoiseSource(number, list("ab")), plan))
            for model in (eager, graphed)
        ]
        assert (results[0] - results[1]).abs().mean() < 1e-3, number


def test_a_folder_with_graph_and_a_padded_batch(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(7):
        picture(index, 64).save(tmp_path / "in" / f"{index}.png")
    made = {}
    for graph in (False, True):
        out = tmp_path / f"out-{graph}"
        asked = {"source": str(tmp_path / "in"), "output": out, "device": "cuda", "dtype": "fp32", "batch_size": 3}
        list(translate(TranslateRequest(**asked, graph=graph)))
        made[graph] = [np.asarray(open_picture(path)).astype(int) for path in sorted(out.iterdir())]
    assert all(np.abs(a - b).mean() < 1 for a, b in zip(*made.values(), strict=True)) and len(made[True]) == 7


def test_stable_diffusion_in_full_size_fits_into_memory(tmp_path):
    """Random weights: an image of 512 pixels within 8 GB, and a training step with LoRA within 12 GB."""
    pytest.importorskip("peft")
    stable_diffusion.write_pipeline(tmp_path)
    stable_diffusion.write_bridge(tmp_path, 512)
    model = load_model(str(tmp_path / stable_diffusion.BRIDGE), device="cuda", dtype="fp16")
    torch.cuda.reset_peak_memory_stats()
    result = finish(model.translate(torch.zeros(1, 3, 512, 512), NoiseSource(0, ["a"]), model.plan(nfe=2)))
    assert result.isfinite().all() and torch.cuda.max_memory_allocated() < 8e9
    del model
    stable_diffusion.write_images(tmp_path / "pairs", 512)
    torch.cuda.reset_peak_memory_stats()
    recipe = {"steps": 1, "batch_size": 1}
    given = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "start_from": f"diffusers:{tmp_path}"}
    list(run(request({**given, "lora": "rank=8", "val_share": 0.0, "device": "cuda", "recipe": recipe})))
    assert torch.cuda.max_memory_allocated() < 12e9
