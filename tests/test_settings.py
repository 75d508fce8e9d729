"""Settings have one form in Python, JSON and the shell."""

import pytest

from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.renamed import FIELDS, NAMES, current, current_name
from ddbm_cli.foundation.settings import build, describe, spell
from ddbm_cli.networks import NETWORKS, ADMConfig
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import GRIDS, SAMPLERS, HybridHeun, Implicit, Timesteps


@pytest.mark.parametrize("registry", [PATHS, SAMPLERS, GRIDS, NETWORKS], ids=["paths", "samplers", "grids", "networks"])
def test_the_json_form_builds_the_same_setting(registry):
    for kind in registry.values():
        assert build(registry, describe(kind()), what="setting") == kind()
        assert build(registry, spell(kind()), what="setting") == kind()


def test_the_shell_form_builds_the_same_setting():
    assert build(SAMPLERS, "implicit:eta=0.5", what="sampler") == Implicit(eta=0.5)
    assert build(SAMPLERS, "heun:churn=0.1,churn-doob-weight=0.5", what="sampler") == HybridHeun(
        churn=0.1, churn_doob_weight=0.5
    )
    assert build(NETWORKS, "adm:channels=32,multipliers=1-2", what="network") == ADMConfig(
        channels=32, multipliers=(1, 2)
    )
    assert build(GRIDS, "listed:at=0.5-1e-03-1e-05", what="grid") == Timesteps(at=(0.5, 1e-3, 1e-5))


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("nonsense", "unknown sampler 'nonsense'", "implicit"),
        ("implicit:nonsense=1", "has no field 'nonsense'", "eta"),
        ("implicit:eta=2", "eta = '2' does not fit", "less than or equal to 1"),
        ("implicit:eta=abc", "eta = 'abc' does not fit", "number"),
        ("implicit:eta", "cannot read 'eta'", "NAME:field=value"),
        ("", "unknown sampler ''", "implicit"),
    ],
)
def test_what_cannot_be_read_is_explained(spec, message, hint):
    with pytest.raises(UsageError) as caught:
        build(SAMPLERS, spec, what="sampler")
    assert message in caught.value.message and hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("form", [describe, spell])
@pytest.mark.parametrize("name", [*FIELDS, *NAMES])
def test_old_names_load_in_every_form(name, form):
    registry = {**SAMPLERS, **GRIDS, **PREDICTIONS}
    made = registry[current_name(name)]()
    old = {new: field for field, new in FIELDS.get(name, {}).items()}
    spec = form(made)
    if isinstance(spec, str):
        for new, field in old.items():
            spec = spec.replace(new, field, 1)
        spec = name + spec.removeprefix(made.name)
    else:
        spec = {old.get(field, field): value for field, value in spec.items()} | {"name": name}
        assert current(spec) == describe(made)
    assert build(registry, spec, what="setting") == made


def test_settings_are_frozen():
    with pytest.raises(Exception, match="cannot assign"):
        Implicit().eta = 1.0
