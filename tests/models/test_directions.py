"""Models with two directions: two networks in one file, and one network with an embedding of the direction."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import ddbm_cli
from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import assemble, write_model
from ddbm_cli.models.assemble import assemble_codec, weights_of
from ddbm_cli.models.card import DIRECTIONS, describe_card, parse_card
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.load import checked_card, load_file
from ddbm_cli.models.readme import model_readme
from ddbm_cli.models.resolve import loading
from ddbm_cli.models.selfcheck import check_file
from ddbm_cli.registry.locate import finish
from ddbm_cli.samplers import SAMPLERS, NoiseSource
from ddbm_cli.samplers import finish as sampled
from ddbm_cli.tasks.exchange import export_model
from tests.tiny import NETWORK, picture, tiny_card, tiny_weights

BOTH = {"directions": DIRECTIONS, "networks": DIRECTIONS, "task": "cats -> dogs"}
EMBEDDED = {"directions": DIRECTIONS, "network": NETWORK | {"classes": 2}, "task": "cats -> dogs"}


def two_networks(path, **changes):
    """Write a file with a network for each direction; return their weights without prefixes."""
    card = tiny_card(**BOTH | changes)
    alone = tiny_card()
    weights = {name: tiny_weights(alone, seed) for seed, name in enumerate(DIRECTIONS)}
    denoisers = {name: assemble(card) for name in DIRECTIONS}
    for name, each in denoisers.items():
        each.network.load_state_dict(weights[name])
    write_model(path, card, weights_of(denoisers, assemble_codec(card)))
    return weights


@pytest.fixture
def source():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def run(model, source, **plan):
    return sampled(model.translate(source, NoiseSource(0, ["a", "b"]), model.plan(**plan)))


def test_each_direction_is_the_ordinary_model_of_its_network(tmp_path, source):
    weights = two_networks(tmp_path / "both.safetensors")
    results = []
    for name in DIRECTIONS:
        write_model(tmp_path / f"{name}.safetensors", tiny_card(), weights[name])
        alone = load_file(tmp_path / f"{name}.safetensors", device="cpu")
        model = load_file(tmp_path / "both.safetensors", device="cpu", direction=name)
        for sampler in sorted(SAMPLERS):
            assert torch.equal(run(model, source, sampler=sampler), run(alone, source, sampler=sampler)), sampler
        assert (model.direction, alone.direction) == (name, "")
        results.append(run(model, source))
    assert not torch.allclose(*results)


def test_an_embedded_direction_is_what_the_network_computes_with_its_label(tmp_path, source):
    card = tiny_card(**EMBEDDED)
    denoiser = assemble(card)
    weights = tiny_weights(card)
    denoiser.network.load_state_dict(weights)
    write_model(tmp_path / "m.safetensors", card, weights)
    t = torch.tensor(0.4, dtype=torch.float64)
    state, estimates = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), []
    for label, name in enumerate(DIRECTIONS):
        model = load_file(tmp_path / "m.safetensors", device="cpu", direction=name)
        found = model.denoiser(state, t, source)
        wanted = denoiser(state, t, source, Conditions(label=torch.tensor([label])))
        assert model.classes == 0 and "classes" not in model.card.network
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        estimates.append(found)
    assert not torch.allclose(*estimates, atol=1e-2)


def test_the_card_of_each_direction(tmp_path):
    two_networks(tmp_path / "both.safetensors", expects={"kind": "line-art"})
    whole = checked_card(tmp_path / "both.safetensors")
    assert whole.directions == whole.networks == DIRECTIONS and read_model(tmp_path / "both.safetensors")[0] == whole
    there, back = (load_file(tmp_path / "both.safetensors", device="cpu", direction=each).card for each in DIRECTIONS)
    assert (there.task, back.task) == ("cats -> dogs", "dogs -> cats")
    assert (there.name, back.name) == ("tiny-AtoB", "tiny-BtoA")
    assert there.expects is not None and back.expects is None, "what is expected of sources is of A"


def test_python_takes_a_direction(tmp_path):
    two_networks(tmp_path / "both.safetensors")
    models = [ddbm_cli.load_model(tmp_path / "both.safetensors", device="cpu", direction=each) for each in DIRECTIONS]
    assert [each.name for each in models] == ["tiny-AtoB", "tiny-BtoA"]


def test_a_model_of_one_direction_has_no_other(tmp_path):
    write_model(tmp_path / "m.safetensors", tiny_card(), tiny_weights(tiny_card()))
    with pytest.raises(UsageError, match="model 'tiny' translates in one direction only") as caught:
        finish(loading(tmp_path / "m.safetensors", device="cpu", direction="BtoA"))
    assert "train A/ B/ --task schrodinger" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directions": ["AtoB"]}, "directions and networks"),
        ({"directions": ["BtoA", "AtoB"]}, "directions and networks"),
        ({"networks": ["AtoB", "BtoA"]}, "directions and networks"),
        ({"directions": ["AtoB", "BtoA"]}, "network.classes"),
        ({**BOTH, "inpainting": True}, "no bridge"),
        ({**BOTH, "directions": ["AtoB", "sideways"]}, "directions"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        parse_card(describe_card(tiny_card()) | changes, where="card", hint="again")


def test_a_file_without_one_of_its_networks_is_refused(tmp_path):
    weights = two_networks(tmp_path / "both.safetensors")
    lacking = {f"AtoB.{name}": value for name, value in weights["AtoB"].items()}
    write_model(tmp_path / "half.safetensors", tiny_card(**BOTH), lacking)
    with pytest.raises(ModelError, match="do not fit its card, first 'BtoA"):
        load_file(tmp_path / "half.safetensors", device="cpu")


@pytest.mark.parametrize("layout", ["safetensors", "diffusers"])
@pytest.mark.parametrize("kind", ["networks", "embedding"])
def test_one_direction_is_exported_as_an_ordinary_model(tmp_path, source, layout, kind):
    file = tmp_path / "both.safetensors"
    if kind == "networks":
        two_networks(file)
    else:
        write_model(file, tiny_card(**EMBEDDED), tiny_weights(tiny_card(**EMBEDDED)))
    for name in DIRECTIONS:
        output = tmp_path / name
        output = output if layout == "diffusers" else output.with_suffix(".safetensors")
        finish(export_model(str(file), output, layout=layout, direction=name))
        alone = load_file(output, device="cpu")
        assert alone.card.directions == () and alone.name == f"tiny-{name}"
        torch.testing.assert_close(run(alone, source), run(load_file(file, device="cpu", direction=name), source))


def test_both_directions_are_exported_to_one_file_but_not_to_a_folder(tmp_path):
    weights = two_networks(tmp_path / "both.safetensors")
    finish(export_model(str(tmp_path / "both.safetensors"), tmp_path / "copy.safetensors"))
    card, copied = read_model(tmp_path / "copy.safetensors")
    assert card.directions == DIRECTIONS
    assert all(torch.equal(copied[f"BtoA.{name}"], value) for name, value in weights["BtoA"].items())
    with pytest.raises(UsageError, match="has two directions") as caught:
        finish(export_model(str(tmp_path / "both.safetensors"), tmp_path / "folder", layout="diffusers"))
    assert "--direction" in caught.value.hint


def test_the_readme_has_the_commands_of_both_directions():
    both, one = model_readme(tiny_card(**BOTH), repo="me/pets"), model_readme(tiny_card(), repo="me/one")
    assert "-m me/pets\n" in both and "-m me/pets --direction BtoA" in both and "--direction" not in one


def test_the_commands_take_a_direction(ddbm, tmp_path):
    file = tmp_path / "both.safetensors"
    two_networks(file)
    picture(0).save(tmp_path / "x.png")
    made = {}
    for name in DIRECTIONS:
        output = tmp_path / f"{name}.png"
        code, _, err = ddbm("translate", tmp_path / "x.png", output, "-m", file, "--direction", name)
        assert code == 0, err
        made[name] = np.asarray(Image.open(output))
        record = json.loads(ddbm("show", output, "--json")[1])
        assert record["direction"] == name and record["model"] == f"tiny-{name}"
        command = ddbm("show", output, "--command", "--search", tmp_path)[1].decode()
        assert f"--direction {name}" in command
    assert (made["AtoB"] != made["BtoA"]).any()
    code, _, err = ddbm("translate", tmp_path / "x.png", tmp_path / "AtoB.png", "-m", file, "--direction", "BtoA")
    assert "another" in err, "an output of the other direction is not taken for this one"
    sample = ("sample", tmp_path / "x.png", "-m", file, "-n", 1)
    for name in DIRECTIONS:
        assert ddbm(*sample, "-o", tmp_path / f"draws-{name}", "--direction", name)[0] == 0
    draws = [np.asarray(Image.open(tmp_path / f"draws-{name}" / "x" / "000.png")) for name in DIRECTIONS]
    assert (draws[0] == made["AtoB"]).all() and (draws[1] == made["BtoA"]).all()


def test_a_comparison_has_both_directions(ddbm, tmp_path):
    two_networks(tmp_path / "both.safetensors")
    picture(0).save(tmp_path / "x.png")
    compare = ("compare", tmp_path / "x.png", "-m", tmp_path / "both.safetensors")
    report = ("-o", tmp_path / "c.json", "--overwrite")
    assert ddbm(*compare, "--with", "default", "--with", "default:direction=BtoA", *report)[0] == 0
    both = json.loads((tmp_path / "c.json").read_text())["methods"]
    assert [each["model"] for each in both] == ["tiny-AtoB", "tiny-BtoA"]
    assert ddbm(*compare, "--with", "default", "--direction", "BtoA", *report)[0] == 0
    assert [each["model"] for each in json.loads((tmp_path / "c.json").read_text())["methods"]] == ["tiny-BtoA"]
    code, _, err = ddbm(*compare, "--with", "default:direction=up", *report)
    assert code == 2 and "choose one of: AtoB, BtoA" in err


def test_the_server_offers_both_directions(tmp_path):
    from ddbm_cli.options.draw import DrawOptions
    from ddbm_cli.serve.offered import loading_all

    two_networks(tmp_path / "both.safetensors")
    models = finish(loading_all(DrawOptions(models=(str(tmp_path / "both.safetensors"),), device="cpu")))
    assert [each.name for each in models] == ["tiny-AtoB", "tiny-BtoA"]
    assert [each.facts()["task"] for each in models] == ["cats -> dogs", "dogs -> cats"]


def test_a_model_of_two_directions_is_not_tuned(ddbm, tmp_path):
    two_networks(tmp_path / "both.safetensors")
    code, _, err = ddbm("tune", tmp_path / "both.safetensors", tmp_path)
    assert code == 2 and "model 'tiny' has two directions" in err and "--direction AtoB" in err


def test_the_self_check_is_of_both_directions(tmp_path):
    two_networks(tmp_path / "both.safetensors")
    figures = check_file(tmp_path / "both.safetensors").figures
    back = {name for name in figures if name.startswith("BtoA ")}
    assert len(back) == len(figures) / 2 > 0
    damaged = tmp_path / "damaged.safetensors"
    card, weights = read_model(tmp_path / "both.safetensors")
    write_model(damaged, card, weights | {"BtoA.out.2.bias": weights["BtoA.out.2.bias"] * torch.inf})
    with pytest.raises(ModelError, match=r"'BtoA\.|out\.2\.bias"):
        check_file(damaged)
