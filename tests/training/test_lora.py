"""Fine-tuning with LoRA: what is trained, what stays, and what is written."""

import json
import shutil
from itertools import islice

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Noticed, Planned
from ddbm_cli.models import assemble, load_model
from ddbm_cli.models.adapters import ADAPTER_KEY
from ddbm_cli.models.checkpoint import open_tensors, read_header, write_tensors
from ddbm_cli.models.load import open_model
from ddbm_cli.options.lora import read_lora
from ddbm_cli.tasks.exchange import export_model
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training.lora import inject, plain_weights
from ddbm_cli.training.state import read_facts
from tests.tiny import TWO_LEVELS, tiny_card, tiny_weights, write_pairs, write_tiny
from tests.training.test_training import same, weights

pytest.importorskip("peft")


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    write_tiny(tmp_path / "base.safetensors")
    return tmp_path


def begin(root, output="run", *, lora="rank=2", **settings):
    recipe = {"steps": 3, "batch_size": 4, "warmup": 0, "save_every": 1, "validate_every": 9, "ema": 0.5}
    body = {"data": [root / "pairs"], "output": root / output, "val_share": 0.3, "device": "cpu"}
    return request({**body, "recipe": recipe, "start_from": str(root / "base.safetensors"), "lora": lora, **settings})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a base, and two runs: merged, and separate."""
    folder = tmp_path_factory.mktemp("lora")
    write_pairs(folder / "pairs", 12)
    write_tiny(folder / "base.safetensors")
    for name in ("merged", "separate"):
        list(run(begin(folder, name, separate=name == "separate")))
    return folder


@pytest.fixture
def adapter(made, tmp_path):
    """Return an adapter whose base is `base.safetensors` in the folder above."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder, dirs_exist_ok=True)
    file = folder / "separate" / "model.safetensors"
    header = read_header(file)
    base = json.loads(header[ADAPTER_KEY]) | {"base": str(folder / "base.safetensors")}
    with open_tensors(file) as tensors:
        found = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a dict
    write_tensors(file, found, header | {ADAPTER_KEY: json.dumps(base)})
    return file


def test_the_weights_of_the_base_stay_the_same_to_the_bit(made):
    found, base = weights(made / "merged"), tiny_weights(tiny_card())
    for part in ("network.network", "average.module.network"):
        names = {name.replace(".base_layer.", "."): name for name in found if name.startswith(part)}
        for name, tensor in base.items():
            assert torch.equal(found[names[f"{part}.{name}"]], tensor), name
        changed = [name for name in names.values() if ".lora_B." in name]
        assert changed and all(found[name].any() for name in changed)
    assert not any(name.startswith("optimizer.") and found[name].numel() > 5000 for name in found)


@pytest.mark.parametrize("targets", ["attention", "convolutions", "attention-convolutions-embedding"])
def test_an_adapter_merged_is_the_adapter(targets):
    card = tiny_card(network=TWO_LEVELS)
    network, lora = assemble(card).network.eval(), read_lora(f"rank=3,alpha=6,targets={targets}")
    network.load_state_dict(tiny_weights(card))
    x, time = torch.randn(2, 6, 16, 16), torch.tensor([100.0])
    before = network(x, time)
    trained = inject(network, lora)
    assert torch.equal(network(x, time), before)
    adapted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert trained == sum(parameter.numel() for parameter in adapted)
    for parameter in adapted:
        torch.nn.init.normal_(parameter, std=0.03)
    merged = assemble(card).network.eval()
    merged.load_state_dict(plain_weights(network, lora.scale))
    after = network(x, time)
    assert (after - before).abs().max() > 0.01
    assert torch.allclose(merged(x, time), after, rtol=1e-5, atol=1e-5)


def test_targets_and_rank_change_what_is_trained():
    def count(spec):
        return inject(assemble(tiny_card()).network, read_lora(spec))

    attention, both, ranked = (count(spec) for spec in ("targets=attention", "rank=8", "rank=4"))
    assert attention < both and 2 * ranked == both


def test_the_merged_model_and_the_separate_adapter_are_the_same_model(made):
    files = [made / name / "model.safetensors" for name in ("merged", "separate")]
    merged, separate = (load_model(file, device="cpu") for file in files)
    ours, theirs = merged.denoiser.network.state_dict(), separate.denoiser.network.state_dict()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], rtol=1e-3, atol=1e-3), name  # merged ones are in half precision
    assert files[1].stat().st_size < files[0].stat().st_size
    assert separate.card.training["lora"]["rank"] == 2 and separate.card.training["lora"]["parameters"] > 1000


def test_an_exported_adapter_is_merged(adapter, tmp_path):
    output = tmp_path / "exported.safetensors"
    list(export_model(str(adapter), output))
    with open_model(adapter) as (_, tensors), open_model(output) as (_, exported):
        assert set(tensors.keys()) == set(exported.keys())
        assert ADAPTER_KEY not in read_header(output)
        for name in exported.keys():  # noqa: SIM118 - not a dict
            assert torch.equal(tensors.get_tensor(name), exported.get_tensor(name))


def test_an_adapter_without_its_base_is_refused(adapter):
    above = adapter.parents[1]
    base = (above / "base.safetensors").rename(above / "elsewhere.safetensors")
    with pytest.raises(ModelError, match="is not there"):
        load_model(adapter, device="cpu")
    write_tiny(above / "base.safetensors", name="another")
    with pytest.raises(ModelError, match="another sha256"):
        load_model(adapter, device="cpu")
    base.rename(adapter.parent / "base.safetensors")
    load_model(adapter, device="cpu")  # next to the adapter it is found first


def test_an_adapter_that_does_not_fit_is_refused(adapter):
    header = read_header(adapter)
    parts = {"out.2.lora_A.weight": torch.zeros(2, 7, 3, 3), "out.2.lora_B.weight": torch.zeros(12, 2, 1, 1)}
    write_tensors(adapter, parts, header)
    with pytest.raises(ModelError, match="does not fit the model that it adapts"):
        load_model(adapter, device="cpu")
    write_tensors(adapter, {}, header | {ADAPTER_KEY: json.dumps({"base": "x"})})
    with pytest.raises(ModelError, match="facts about the adapter are damaged"):
        load_model(adapter, device="cpu")


def test_a_stopped_run_resumes_to_the_same_bits_without_its_base(root):
    list(run(begin(root, "whole", separate=True)))
    stopped = run(begin(root, "stopped", separate=True))
    list(islice(stopped, 3))
    stopped.close()
    (root / "base.safetensors").rename(root / "run-base.safetensors")
    list(run(request({"device": "cpu"}, resume=root / "stopped")))
    assert same(weights(root / "whole"), weights(root / "stopped"))
    assert "whole" in read_facts(root / "stopped" / "state.safetensors")["notes"]["lora"]


def test_new_classes_are_trained_as_a_whole(root):
    for index, file in enumerate(sorted((root / "pairs" / "A").iterdir())):
        for side in "AB":
            folder = root / "pairs" / side / ("cat" if index % 2 else "dog")
            folder.mkdir(exist_ok=True)
            (root / "pairs" / side / file.name).rename(folder / file.name)
    events = list(run(begin(root, classes=True, separate=True)))
    assert any(isinstance(event, Noticed) and event.names == ["label_emb.weight"] for event in events)
    with open_model(root / "run" / "model.safetensors") as (card, tensors):
        assert card.class_names == ("cat", "dog") and tensors.get_tensor("label_emb.weight").shape[0] == 2
    assert load_model(root / "run" / "model.safetensors", device="cpu").classes == 2


def test_the_header_says_what_is_trained(root):
    planned = next(event for event in run(begin(root), dry_run=True) if isinstance(event, Planned))
    assert "LoRA rank 2, alpha 2, attention and convolutions" in planned.facts["Adapter"]


def test_what_cannot_be_adapted_is_refused(root):
    for given, words in (
        ({"lora": "rank=0"}, "--lora: rank = '0' does not fit"),
        ({"lora": "rank=2,speed=1"}, "--lora has no field 'speed'"),
        ({"lora": "rank"}, "cannot read 'rank'"),
        ({"lora": "targets=all"}, "does not fit"),
        ({"lora": "rank=2", "start_from": None}, "--lora needs a model to adapt"),
        ({"lora": None, "separate": True}, "--separate is for adapters"),
    ):
        with pytest.raises(UsageError) as error:
            request({"data": [root / "pairs"], "start_from": str(root / "base.safetensors"), **given})
        assert words in error.value.message and error.value.hint and "lora:" not in error.value.hint
    with pytest.raises(UsageError, match="networks of type adm"):
        inject(torch.nn.Linear(2, 2), read_lora("rank=2"))


def test_another_adapter_does_not_continue_a_run(made):
    with pytest.raises(UsageError, match="a run with another lora"):
        list(run(begin(made, "merged", lora="rank=4")))
