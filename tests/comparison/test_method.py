"""Methods in their command-line form."""

import pytest

from ddbm_cli.comparison import Method, parse_methods
from ddbm_cli.foundation.errors import UsageError


@pytest.mark.parametrize(
    ("spec", "methods"),
    [
        ("heun", [Method(name="heun", sampler="heun")]),
        ("heun:churn=0.33,nfe=119", [Method(name="heun", sampler="heun:churn=0.33", nfe=119, own_budget=True)]),
        ("dbim:5,10", [Method(name="dbim", sampler="dbim", nfe=number, own_budget=True) for number in (5, 10)]),
        ("dbim-2:eta=0,20", [Method(name="dbim-2", sampler="dbim-2:eta=0", nfe=20, own_budget=True)]),
        (
            "dbim:steps=4,grid=karras:rho=3",
            [Method(name="dbim", sampler="dbim", steps=4, grid="karras:rho=3", own_budget=True)],
        ),
        ("dbim:model=a.safetensors", [Method(name="dbim", sampler="dbim", model="a.safetensors")]),
        ("default:7", [Method(name="default", nfe=7, own_budget=True)]),
        ("sdedit:0.2,0.5", [Method(name="sdedit", strength=number) for number in (0.2, 0.5)]),
        ("ddib:8,source=a,model=b", [Method(name="ddib", source="a", model="b", nfe=8, own_budget=True)]),
        ("sdedit:0.2,nfe=9", [Method(name="sdedit", strength=0.2, nfe=9, own_budget=True)]),
    ],
)
def test_specs_are_methods(spec, methods):
    assert parse_methods([spec]) == methods


def test_common_options_apply_to_methods_that_specify_none():
    methods = parse_methods(["dbim", "dbim:5", "dbim:steps=3", "heun:model=b"], model="a", nfe=10)
    assert [(each.model, each.nfe) for each in methods] == [("a", 10), ("a", 5), ("a", None), ("b", 10)]


def test_options_are_those_of_translate():
    (method,) = parse_methods(["heun:churn=0.1,nfe=9,grid=uniform"])
    assert method.options() == {"sampler": "heun:churn=0.1", "grid": "uniform", "nfe": 9}
    (method,) = parse_methods(["sdedit:0.4"])
    assert method.options() == {"method": "sdedit", "strength": 0.4}
    (method,) = parse_methods(["fast:2"], model="a")
    assert method.options() == {"fast": True, "model": "a", "nfe": 2} and method.reference is None
    (method,) = parse_methods(["dbim:perturbed_guidance=blur:scale=2+split=yes"])
    assert method.options() == {"sampler": "dbim", "perturbed_guidance": "blur:scale=2,split=yes"}
    assert method.is_guided
    (method,) = parse_methods(["ddib:source=a,model=b"])
    assert method.options() == {"method": "ddib", "source_model": "a", "model": "b"}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["dbim", "dbim"], "given twice"),
        (["dbim:10", "dbim:nfe=10"], "given twice"),
        (["dbim:ten"], "cannot read 'ten'"),
        (["dbim:nfe=ten"], "cannot read 'ten'"),
        (["dbim:5,nfe=6"], "specifies its nfe twice"),
        (["default:eta=1"], "has no field 'eta'"),
        (["sdedit:0.2,chrun=1"], "has no field 'chrun'"),
        (["dbim:strength=0.4"], "has no field 'strength'"),
        (["dbim:source=a"], "has no field 'source'"),
        (["sdedit:1.5"], "strength 1.5 is out of range"),
        (["sdedit:nan"], "strength nan is out of range"),
        (["dbim:0"], "nfe 0 is out of range"),
        (["dbim:nfe=5,steps=4"], "mutually exclusive"),
        (["dbim:eta=0,eta=1"], "specifies eta twice"),
        (["dbim:model="], "model has no value"),
        ([":5"], "has no name"),
    ],
)
def test_wrong_methods_are_explained(specs, message):
    with pytest.raises(UsageError, match=message):
        parse_methods(specs)


def test_methods_with_a_prior_do_not_take_the_common_model():
    bridge, sdedit, own = parse_methods(["dbim", "sdedit:0.4", "sdedit:0.4,model=mine"], model="bridge")
    assert (bridge.model, sdedit.model, own.model) == ("bridge", None, "mine")


def test_a_misspelt_field_is_suggested():
    with pytest.raises(UsageError) as error:
        parse_methods(["sdedit:0.4,sources=a"])
    assert error.value.hint == "did you mean 'source'?"


def test_a_sweep_makes_a_column_for_each_pair_of_scales_that_a_method_leaves_open():
    sweep = {"image_guidance_scale": (1.0, 1.5), "guidance_scale": (3.0, 7.5)}
    methods = parse_methods(["default", "dbim:5,guidance_scale=2"], sweep=sweep)
    assert [method.label for method in methods[:2]] == [
        "default guidance scale 3.0 image guidance scale 1.0",
        "default guidance scale 7.5 image guidance scale 1.0",
    ]
    assert [dict(method.conditions) for method in methods[4:]] == [
        {"guidance_scale": 2.0, "image_guidance_scale": scale} for scale in (1.0, 1.5)
    ]
