"""Methods as people write them."""

import pytest

from ddbm_cli.comparison import Method, parse_methods
from ddbm_cli.foundation.errors import UsageError


@pytest.mark.parametrize(
    ("spec", "methods"),
    [
        ("heun", [Method(name="heun", sampler="heun")]),
        ("heun:churn=0.33,nfe=119", [Method(name="heun", sampler="heun:churn=0.33", nfe=119)]),
        ("dbim:5,10", [Method(name="dbim", sampler="dbim", nfe=number) for number in (5, 10)]),
        ("dbim-2:eta=0,20", [Method(name="dbim-2", sampler="dbim-2:eta=0", nfe=20)]),
        ("dbim:steps=4,grid=karras:rho=3", [Method(name="dbim", sampler="dbim", steps=4, grid="karras:rho=3")]),
        ("dbim:model=a.safetensors", [Method(name="dbim", sampler="dbim", model="a.safetensors")]),
        ("default:7", [Method(name="default", nfe=7)]),
        ("sdedit:0.2,0.5", [Method(name="sdedit", strength=number) for number in (0.2, 0.5)]),
        ("ddib:8,source=a,model=b", [Method(name="ddib", source="a", model="b", nfe=8)]),
        ("sdedit:0.2,nfe=9", [Method(name="sdedit", strength=0.2, nfe=9)]),
    ],
)
def test_specs_are_methods(spec, methods):
    assert parse_methods([spec]) == methods


def test_what_a_method_does_not_say_is_said_for_all():
    methods = parse_methods(["dbim", "dbim:5", "dbim:steps=3", "heun:model=b"], model="a", nfe=10)
    assert [(each.model, each.nfe) for each in methods] == [("a", 10), ("a", 5), ("a", None), ("b", 10)]


def test_options_are_those_of_translate():
    (method,) = parse_methods(["heun:churn=0.1,nfe=9,grid=uniform"])
    assert method.options() == {"sampler": "heun:churn=0.1", "grid": "uniform", "nfe": 9}
    (method,) = parse_methods(["sdedit:0.4"])
    assert method.options() == {"method": "sdedit", "strength": 0.4}
    (method,) = parse_methods(["ddib:source=a,model=b"])
    assert method.options() == {"method": "ddib", "source_model": "a", "model": "b"}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["dbim", "dbim"], "given twice"),
        (["dbim:10", "dbim:nfe=10"], "given twice"),
        (["dbim:ten"], "cannot read 'ten'"),
        (["dbim:nfe=ten"], "cannot read 'ten'"),
        (["dbim:5,nfe=6"], "gives its nfe twice"),
        (["default:eta=1"], "has no field 'eta'"),
    ],
)
def test_what_cannot_be_read_is_explained(specs, message):
    with pytest.raises(UsageError, match=message):
        parse_methods(specs)
