"""Files of others become model files: the very weights, whatever they are packed in, or a message that says why not."""

import json
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.importers import card_of, import_file
from ddbm_cli.models.importers.ddbm import read
from ddbm_cli.networks import ADMConfig
from ddbm_cli.registry import read_registry
from tests.foreign import entry, foreign_card, foreign_weights, write_foreign
from tests.networks.test_adm import RELEASED
from tests.tiny import TWO_LEVELS, tiny_weights

WEIGHTS = tiny_weights(foreign_card())


def prefixed(prefix, weights=None):
    return {f"{prefix}{name}": tensor for name, tensor in (weights or foreign_weights()).items()}


def scaled(factor, dimensions=3):
    return {name: factor * tensor for name, tensor in foreign_weights(dimensions).items()}


def bring(folder, content, **changes):
    """Import what torch.save writes; return the weights that come out, and the report."""
    report = import_file(write_foreign(folder / "old.pt", content), folder / "m.safetensors", entry(**changes))
    return read_model(folder / "m.safetensors")[1], report


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


PACKINGS = {
    "4-D": foreign_weights(4),
    "3-D": foreign_weights(3),
    "2-D": foreign_weights(2),
    "ordered": OrderedDict(foreign_weights()),
    "module": prefixed("module."),
    "compiled": prefixed("_orig_mod.module."),
    "lightning": {"epoch": 3, "state_dict": prefixed("model.diffusion_model."), "optimizer_states": []},
    "i2sb": {"net": foreign_weights(), "ema": {"decay": 0.99, "num_updates": 3}, "optimizer": {"state": {}}},
    "ema inside": {"model": scaled(2.0), "ema": foreign_weights(), "step": 7},
    "ema beside": prefixed("model.", scaled(2.0)) | prefixed("model_ema."),
    "rates": {"ema_0.99": scaled(3.0), "ema_0.9999": foreign_weights(), "ema_0.999": scaled(2.0)},
    "other network": {"net": foreign_weights(), "vae": {"encoder.weight": torch.ones(3, 3)}},
    "deeper": {"checkpoint": {"state": {"model": foreign_weights()}}},
    "numbers": {"net": foreign_weights(), "step": torch.tensor(7), "lr": 0.1},
    "parameters": {name: nn.Parameter(tensor) for name, tensor in foreign_weights().items()},
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_network_is_found_in_any_packing(tmp_path, packing):
    found, report = bring(tmp_path, PACKINGS[packing])
    assert same(found, WEIGHTS)
    assert report.parameters == sum(tensor.numel() for tensor in WEIGHTS.values())


def test_a_choice_among_networks_is_reported(tmp_path):
    _, report = bring(tmp_path, PACKINGS["ema inside"])
    assert report.notes[0] == "imported: 'ema'; not imported: model"
    _, report = bring(tmp_path, PACKINGS["rates"])
    assert report.notes[0] == "imported: 'ema_0.9999'; not imported: ema_0.99, ema_0.999"
    assert not [note for note in bring(tmp_path, PACKINGS["module"])[1].notes if "taken" in note]


def test_safetensors_of_others_are_read_too(tmp_path):
    save_file(prefixed("module."), tmp_path / "theirs.safetensors")
    import_file(tmp_path / "theirs.safetensors", tmp_path / "m.safetensors", entry())
    assert same(read_model(tmp_path / "m.safetensors")[1], WEIGHTS)


def test_the_card_is_the_entrys_and_the_file_works(tmp_path):
    bring(tmp_path, None, limits="few")
    model = load_model(tmp_path / "m.safetensors", device="cpu")
    assert (model.card.name, model.card.limits, model.card.licence) == ("foreign", "few", "MIT")
    assert card_of(entry(limits="few")) == model.card


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_models_are_imported_by_their_names_and_shapes(name, golden):
    """On the meta device: 2 GB of weights are the benchmark's."""
    keys = json.loads((golden / f"keys.{name}.json").read_text())["keys"]
    card = card_of(read_registry()[name])
    config = ADMConfig(**{key: value for key, value in card.network.items() if key != "name"})
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in config.create().state_dict().items()}
        official = {key: torch.empty(shape) for key, shape in keys.items()}
        packed = {
            "4-D": official,
            "3-D": {key: value.flatten(2) if ".qkv.weight" in key else value for key, value in official.items()},
            "module": prefixed("module.", official),
        }
        for tensors in packed.values():
            weights, notes = read(tensors, config, shapes, file="old.pt")
            assert {key: tuple(value.shape) for key, value in weights.items()} == shapes and not notes
        other = RELEASED[next(each for each in RELEASED if each != name)]
        wrong = other.create().state_dict()
        with pytest.raises(ModelError, match=r"another network: channels \d+, not \d+, multipliers"):
            read(wrong, config, shapes, file="old.pt")


def without(name):
    return {key: tensor for key, tensor in foreign_weights().items() if key != name}


OUT = "out.2.weight"
WRONG = {
    "missing": (without(OUT), rf"1 parameters missing \({OUT}\)"),
    "unexpected": (foreign_weights() | {"extra": torch.ones(1)}, r"1 parameters unexpected \(extra\)"),
    "shape": (
        foreign_weights() | {OUT: torch.ones(9, 16, 3, 3)},
        r"of another shape \(out\.2\.weight \(9, 16, 3, 3\), not",
    ),
    "other": ({"conv.weight": torch.ones(3, 3)}, r"parameters missing \(time_embed\.0\.weight, .*, \.\.\.\)"),
    "integers": ({k: v.int() for k, v in foreign_weights().items()}, "is of type torch.int32, not floating point"),
    "nan": (
        foreign_weights() | {"out.0.weight": torch.full((16,), torch.nan)},
        "'out.0.weight' contains NaN or infinity",
    ),
    "inf": (
        foreign_weights() | {"out.0.weight": torch.full((16,), torch.inf)},
        "'out.0.weight' contains NaN or infinity",
    ),
    "empty": ({}, "the file has no weights"),
    "list": ([torch.ones(3)], r"parameters missing .*; 1 parameters unexpected \(0\)"),
    "words": ("no weights", "the file has no weights"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_other_weights_are_refused_with_a_reason(tmp_path, fault):
    content, words = WRONG[fault]
    with pytest.raises(ModelError, match=words) as caught:
        bring(tmp_path, content)
    assert "old.pt" in caught.value.message and caught.value.hint and caught.value.exit_code == 4
    assert not list(tmp_path.glob("*m.safetensors*")), "nothing is half-made"


def test_a_network_of_another_size_is_described_by_its_settings(tmp_path):
    theirs = tiny_weights(foreign_card(network=TWO_LEVELS | {"channels": 32, "blocks": 2}))
    with pytest.raises(ModelError, match=r"another network: channels 32, not 16, blocks 2, not 1$"):
        bring(tmp_path, theirs)


def test_types_are_kept_or_converted(tmp_path):
    source = write_foreign(tmp_path / "old.pt", {name: tensor.half() for name, tensor in foreign_weights().items()})
    for dtype, wanted in ((None, torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        report = import_file(source, tmp_path / "m.safetensors", entry(), dtype=dtype)
        _, found = read_model(tmp_path / "m.safetensors")
        assert {tensor.dtype for tensor in found.values()} == {wanted}
        assert report.dtype == (dtype or "fp16")
    doubled, report = bring(tmp_path, {name: tensor.double() for name, tensor in foreign_weights().items()})
    assert report.dtype == "fp32" and same(doubled, WEIGHTS)
    mixed = foreign_weights() | {"out.0.weight": torch.ones(16, dtype=torch.float16)}
    assert {tensor.dtype for tensor in bring(tmp_path, mixed)[0].values()} == {torch.float32}
    with pytest.raises(UsageError, match="unknown dtype"):
        import_file(source, tmp_path / "m.safetensors", entry(), dtype="fp7")


def test_what_float16_cannot_hold_is_refused(tmp_path):
    loud = write_foreign(tmp_path / "old.pt", foreign_weights() | {"out.0.bias": torch.full((16,), 1e5)})
    with pytest.raises(
        ModelError, match=r"'out.0.bias' has values up to 1e\+05, out of the range of torch.float16"
    ) as caught:
        import_file(loud, tmp_path / "m.safetensors", entry(), dtype="fp16")
    assert "--dtype bf16" in caught.value.hint
    import_file(loud, tmp_path / "m.safetensors", entry(), dtype="bf16")


def test_the_packing_of_the_old_pytorch_is_explained(tmp_path):
    torch.save(foreign_weights(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"a pickle, as PyTorch wrote before 1\.6"):
        import_file(tmp_path / "old.pt", tmp_path / "m.safetensors", entry())


def test_a_file_without_a_card_needs_an_entry(tmp_path):
    with pytest.raises(UsageError, match="the file has no model card") as caught:
        import_file(write_foreign(tmp_path / "old.pt"), tmp_path / "m.safetensors")
    assert "--like" in caught.value.hint


def test_our_own_file_comes_back_byte_for_byte(tmp_path):
    """With the card in the header, and with the entry's; in each type."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        first, again, third = (tmp_path / f"{name}.safetensors" for name in "abc")
        write_model(first, card_of(entry(scores={"mse": 0.25})), WEIGHTS, dtype=dtype)
        import_file(first, again)
        assert again.read_bytes() == first.read_bytes()
        import_file(again, third, entry(scores={"mse": 0.25}))
        assert third.read_bytes() == first.read_bytes()


def test_the_built_in_model_comes_back(tmp_path):
    builtin = read_registry()["sketch-to-3d-64"]
    report = import_file(builtin.builtin_file, tmp_path / "m.safetensors", builtin)
    (card, wanted), (again, found) = read_model(builtin.builtin_file), read_model(tmp_path / "m.safetensors")
    assert again == card and same(found, wanted) and report.dtype == "fp16"


@pytest.mark.parametrize("fault", [OSError(28, "full"), KeyboardInterrupt()], ids=repr)
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, fault):
    source = write_foreign(tmp_path / "old.pt")
    (tmp_path / "m.safetensors").write_bytes(b"old")

    def fail(fd):
        raise fault

    monkeypatch.setattr("ddbm_cli.models.checkpoint.os.fsync", fail)
    with pytest.raises((OSError, KeyboardInterrupt)):
        import_file(source, tmp_path / "m.safetensors", entry())
    assert (tmp_path / "m.safetensors").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "old.pt"]


def test_an_incomplete_entry_is_the_registrys_fault(tmp_path):
    from dataclasses import replace

    with pytest.raises(ModelError, match=r"\[foreign\.card\]: path: "):
        card_of(replace(entry(), card={"network": {"name": "adm"}}))
    with pytest.raises(ModelError, match="unknown importer 'other'"):
        import_file(write_foreign(tmp_path / "old.pt"), tmp_path / "m", replace(entry(), importer="other"))
