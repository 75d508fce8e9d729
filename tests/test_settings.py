"""Settings have one form in Python, JSON and the shell."""

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, describe, spell
from ddbm_cli.networks import NETWORKS, ADMConfig
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import GRIDS, SAMPLERS, HybridHeun, Implicit, Listed


@pytest.mark.parametrize("registry", [PATHS, SAMPLERS, GRIDS, NETWORKS], ids=["paths", "samplers", "grids", "networks"])
def test_the_json_form_builds_the_same_setting(registry):
    for kind in registry.values():
        assert build(registry, describe(kind()), what="setting") == kind()
        assert build(registry, spell(kind()), what="setting") == kind()


def test_the_shell_form_builds_the_same_setting():
    assert build(SAMPLERS, "implicit:eta=0.5", what="sampler") == Implicit(eta=0.5)
    assert build(SAMPLERS, "heun:churn=0.1,churn-guidance=0.5", what="sampler") == HybridHeun(
        churn=0.1, churn_guidance=0.5
    )
    assert build(NETWORKS, "adm:channels=32,multipliers=1-2", what="network") == ADMConfig(
        channels=32, multipliers=(1, 2)
    )
    assert build(GRIDS, "listed:at=0.5-1e-03-1e-05", what="grid") == Listed(at=(0.5, 1e-3, 1e-5))


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


def test_settings_are_frozen():
    with pytest.raises(Exception, match="cannot assign"):
        Implicit().eta = 1.0
