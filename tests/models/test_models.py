"""Model files: what they carry, and what is said of those that cannot be used."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import ModelCard, load_model, write_model
from ddbm_cli.models.card import HEADER_KEY
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.samplers import NoiseSource, finish
from tests.tiny import tiny_card, tiny_weights, write_tiny


def test_a_file_is_the_whole_model(tmp_path):
    card = tiny_card(limits="small", scores={"mse": 0.25})
    weights = tiny_weights(card)
    write_model(tmp_path / "m.safetensors", card, weights)
    again, read = read_model(tmp_path / "m.safetensors")
    assert again == card
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def test_the_header_names_licence_and_title_as_modelspec_does(tmp_path):
    header = tiny_card().header()
    assert header["modelspec.license"] == "MIT" and header["modelspec.title"] == "tiny"


def header_of(card: ModelCard, **changes) -> dict[str, str]:
    return {HEADER_KEY: json.dumps(json.loads(card.header()[HEADER_KEY]) | changes)}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "no model card"),
        ({HEADER_KEY: "{"}, "not readable"),
        ({HEADER_KEY: "[]"}, "not readable"),
        (header_of(tiny_card(), format=99), "format 99"),
        (header_of(tiny_card(), path={"name": "nonsense"}), "unknown path"),
        (header_of(tiny_card(), surprise=1), "surprise"),
        (header_of(tiny_card(), network={"name": "adm", "channels": 18}), "do not fit its card"),
    ],
    ids=["none", "cut", "list", "newer", "unknown-path", "unknown-field", "other-shape"],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path, header, message):
    save_file({k: v.contiguous() for k, v in tiny_weights(tiny_card()).items()}, tmp_path / "m.safetensors", header)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(tmp_path / "m.safetensors")
    assert caught.value.exit_code == 4 and caught.value.hint


def test_files_that_are_none_are_explained(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="no such model file"):
        load_model(tmp_path / "missing.safetensors")


def test_unknown_devices_and_dtypes_are_usage_errors(tmp_path):
    file = write_tiny(tmp_path / "m.safetensors")
    with pytest.raises(UsageError, match="device"):
        load_model(file, device="abacus")
    with pytest.raises(UsageError, match="dtype"):
        load_model(file, device="cpu", dtype="fp7")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = write_tiny(tmp_path / "m.safetensors")
    before = file.read_bytes()
    monkeypatch.setattr(
        "ddbm_cli.models.checkpoint.os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_tiny(file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_tiny(tmp_path_factory.mktemp("model") / "m.safetensors"), device="cpu")


def test_plans_come_from_options_then_habits_then_the_card(model):
    assert model.plan().describe() == {
        "sampler": {"name": "implicit", "eta": 0.0},
        "grid": {"name": "uniform", "gap": 0.001, "t_min": None},
        "start": {"name": "booted"},
        "steps": 3,
    }
    heun = model.plan("heun", nfe=11)
    assert (heun.grid.name, heun.start.name, heun.steps, heun.nfe) == (
        "karras",
        "pinned",
        4,
        10,
    )  # min_ratio leaves out a slope
    assert model.plan("heun").nfe <= model.plan().nfe  # the card's default is a budget of calls
    assert model.plan("dbim:eta=0.5").sampler.eta == 0.5
    assert model.plan("dbim-2").sampler.order == 2
    assert model.plan(grid="log-snr:gap=0.01", steps=7).grid.gap == 0.01


def test_impossible_plans_are_usage_errors(model):
    for bad in ({"nfe": 0}, {"steps": 0}, {"nfe": 4, "steps": 2}, {"sampler": "x"}, {"grid": "x"}, {"steps": 10**6}):
        with pytest.raises(UsageError):
            model.plan(**bad)


@pytest.mark.parametrize("sampler", ["implicit:eta=0.7", "heun", "dbim-3", "euler-maruyama"])
def test_results_do_not_depend_on_the_batch(model, sampler):
    """Alone, in company, in any order: each image's result is its own, byte for byte after rounding."""
    source = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    names, plan = list("abcde"), model.plan(sampler, steps=3)
    together = finish(model.translate(source, NoiseSource(0, names), plan))
    order = [3, 1, 4, 0, 2]
    mixed = finish(model.translate(source[order], NoiseSource(0, [names[i] for i in order]), plan))
    alone = torch.cat([finish(model.translate(source[i : i + 1], NoiseSource(0, [names[i]]), plan)) for i in range(5)])
    for other in (mixed[[order.index(i) for i in range(5)]], alone):
        assert (((together.clamp(-1, 1) - other.clamp(-1, 1)) * 127.5).abs() < 0.5).all()
        assert torch.allclose(together, other, atol=2e-4)


def test_clipping_is_the_cards_choice(tmp_path):
    source = torch.zeros(1, 3, 16, 16)
    loud = {name: tensor * 3 for name, tensor in tiny_weights(tiny_card()).items()}
    results = []
    for clip in (True, False):
        card = tiny_card(clip=clip)
        write_model(tmp_path / "m.safetensors", card, loud)
        model = load_model(tmp_path / "m.safetensors", device="cpu")
        results.append(finish(model.translate(source, NoiseSource(0, ["x"]), model.plan())))
    assert not torch.equal(*results)


def test_half_precision_files_load_in_full(tmp_path):
    card = tiny_card()
    write_model(tmp_path / "m.safetensors", card, {k: v.half() for k, v in tiny_weights(card).items()})
    assert load_model(tmp_path / "m.safetensors", device="cpu").dtype == torch.float32
    assert load_model(tmp_path / "m.safetensors", device="cpu", dtype="bf16").dtype == torch.bfloat16


def test_cards_can_be_changed_without_weights(tmp_path):
    card = dataclasses.replace(tiny_card(), name="other")
    assert card.name == "other" and card.network == tiny_card().network
