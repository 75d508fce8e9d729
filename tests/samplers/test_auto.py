"""The table of `--sampler auto`, the choice by the budget, and warnings of samplers that are poor there."""

import json

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, describe, spell
from ddbm_cli.models import load_model
from ddbm_cli.options.names import check_spec
from ddbm_cli.paths import PATHS, VE, I2SBBridge, RectifiedFlow, VPBridge
from ddbm_cli.samplers import GRIDS, SAMPLERS, Plan, Prior, choose, default_start, is_measured
from ddbm_cli.samplers.auto import FILE
from ddbm_cli.tasks.recreate import command
from ddbm_cli.tasks.show import image_record
from ddbm_cli.tasks.translate import TranslateRequest
from ddbm_cli.tasks.translate import run as translate
from tests.test_laws import WrongNoise
from tests.tiny import NETWORK, picture, write_tiny

TABLE = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_tiny(tmp_path_factory.mktemp("auto") / "m.safetensors"), device="cpu")


def plan_of(path, sampler, grid, nfe):
    made = build(SAMPLERS, sampler, what="sampler")
    grid = build(GRIDS, grid, what="grid")
    return Plan(path=path, sampler=made, grid=grid, start=default_start(path, made), steps=1).within(nfe)


def test_the_table_has_every_path():
    assert TABLE.keys() == PATHS.keys()


@pytest.mark.parametrize("name", TABLE)
def test_every_choice_is_a_sampler_of_the_path_and_within_its_budget(name):
    path = PATHS[name]()
    for nfe, row in TABLE[name].items():
        plan = plan_of(path, row["sampler"], row["grid"], int(nfe))
        assert plan.nfe <= int(nfe)
        assert (spell(plan.sampler), spell(plan.grid)) == (row["sampler"], row["grid"]), "written before a change"
        assert f"{row['sampler']} {row['grid']}" not in row["poor"]
        for poor in row["poor"]:
            sampler, grid = poor.split(" ")
            assert spell(build(SAMPLERS, sampler, what="sampler").planned()) == sampler, "written before a change"
            assert spell(build(GRIDS, grid, what="grid")) == grid


def test_the_choice_is_that_of_the_largest_budget_below():
    rows = TABLE["vp-bridge"]
    assert choose(VPBridge(), 7).sampler == rows["6"]["sampler"]
    assert choose(VPBridge(), 500).sampler == rows["119"]["sampler"]
    assert choose(WrongNoise(), 7) == ("multistep:order=2", None)


@pytest.mark.parametrize("nfe", [1, 2, 5, 6, 10, 20])
def test_auto_meets_the_budget(model, nfe):
    plan = model.plan("auto", nfe=nfe)
    assert plan.nfe == nfe
    if nfe > 1:
        assert spell(plan.sampler) == choose(VPBridge(), nfe).sampler
        assert spell(plan.grid) == choose(VPBridge(), nfe).grid


def test_auto_without_a_budget_takes_that_of_the_card(model):
    assert model.plan("auto").nfe == model.plan().nfe
    assert spell(model.plan("auto", "uniform", nfe=6).grid) == spell(build(GRIDS, "uniform", what="grid"))
    with pytest.raises(UsageError, match="chooses by network evaluations"):
        model.plan("auto", steps=4)


def test_auto_takes_tuned_settings_first(tmp_path):
    entry = {
        "sampler": {"name": "implicit", "eta": 0.0}, "grid": {"name": "timesteps", "at": [0.9, 0.1]},
        "start": {"name": "booted"}, "steps": 2, "distance": 0.1, "distance_before": 0.2,
    }  # fmt: skip
    tuned = load_model(write_tiny(tmp_path / "m.safetensors", tuned={"3": entry}), device="cpu")
    assert tuned.plan("auto", nfe=3).grid.at == (0.9, 0.1)
    assert tuned.plan("auto", nfe=4).grid.name != "timesteps" or choose(VPBridge(), 4).grid.startswith("timesteps")


def test_auto_works_on_every_path(tmp_path):
    for name, kind in PATHS.items():
        path = kind()
        chosen = choose(path, 6)
        assert plan_of(path, chosen.sampler, chosen.grid, 6).nfe <= 6, name
    assert choose(RectifiedFlow(), 1).sampler == "implicit:eta=0"


def test_auto_takes_no_fields():
    check_spec("samplers", "auto")
    with pytest.raises(UsageError, match="takes no fields"):
        check_spec("samplers", "auto:eta=1")


def test_a_poor_sampler_is_warned_of_and_a_better_one_is_named():
    row = next((nfe, row) for nfe, row in TABLE["vp-bridge"].items() if row["poor"])
    sampler, grid = row[1]["poor"][0].split(" ")
    (warning,) = (line for line in plan_of(VPBridge(), sampler, grid, int(row[0])).warnings() if "cannot" not in line)
    assert "auto" in warning or "dbim" in warning
    chosen = choose(VPBridge(), 6)
    assert not plan_of(VPBridge(), chosen.sampler, chosen.grid, 6).warnings()


@pytest.mark.parametrize("nfe", [2, 5, 6, 10, 20])
def test_a_budget_alone_gets_the_choice_of_auto(model, nfe):
    assert model.plan().nfe not in (nfe, 1)
    assert model.plan(nfe=nfe) == model.plan("auto", nfe=nfe)


def test_the_cards_own_budget_steps_and_any_given_setting_do_not(model):
    usual = model.plan()
    assert model.plan(nfe=usual.nfe).sampler == usual.sampler and model.plan(nfe=usual.nfe).grid == usual.grid
    for given in ({"sampler": "dbim", "nfe": 6}, {"grid": "uniform", "nfe": 6}, {"steps": 6}):
        assert model.plan(**given).sampler == usual.sampler


def test_the_ode_of_i2sb_is_not_in_the_table():
    assert is_measured(I2SBBridge()) and not is_measured(I2SBBridge(ot_ode=True))
    assert choose(I2SBBridge(ot_ode=True), 6) == ("implicit:eta=0", None)


KEEPING = (
    {"keep_sampler": True},
    {"training": {"teacher": "x"}},
    {"defaults": {"sampler": {"name": "implicit"}, "grid": {"name": "timesteps"}, "start": {"name": "booted"},
                  "steps": 3}},
)  # fmt: skip


@pytest.mark.parametrize("changes", KEEPING, ids=["by hand", "a student", "tuned times"])
def test_samplers_that_were_chosen_for_a_model_are_kept_at_every_budget(tmp_path, changes):
    kept = load_model(write_tiny(tmp_path / "m.safetensors", **changes), device="cpu")
    plan = kept.plan(nfe=6)
    assert plan.nfe == 6 and (plan.sampler, plan.grid) == (kept.plan().sampler, kept.plan().grid)


def test_the_choice_for_a_prior_is_that_of_its_own_process(tmp_path):
    """A bridge from noise is sampled as its reference process, which is not in the table."""
    prior = {"kind": "prior", "concat_source": False, "network": NETWORK | {"in_channels": 3}}
    start = {"sampler": {"name": "implicit"}, "grid": {"name": "uniform"}, "start": {"name": "prior"}, "steps": 3}
    for path, wanted in (("ve", choose(VE(), 6).sampler), ("vp-bridge:beta_d=19.9", "implicit:eta=0.0")):
        file = tmp_path / f"{path[:2]}.safetensors"
        setting = describe(build(PATHS, path, what="path"))
        plan = load_model(write_tiny(file, **prior, defaults=start, path=setting), device="cpu").plan(nfe=6)
        assert spell(plan.sampler) == wanted and plan.start == Prior()


@pytest.mark.parametrize("nfe", range(2, 20))
def test_hybrid_heun_below_20_and_heuns_ode_are_warned_of(model, nfe):
    hybrid = model.plan("heun:churn=0.33", nfe=nfe)
    assert [line for line in hybrid.warnings() if "--sampler auto, which is" in line] or hybrid.nfe >= 20
    ode = model.plan("ode", nfe=nfe)
    if nfe > 2:  # odd numbers only: of an even budget one evaluation is left
        assert [line for line in ode.warnings() if "--sampler auto, which is" in line]
    assert bool([line for line in ode.warnings() if "cannot take exactly" in line]) == (ode.nfe != nfe)


def test_outputs_and_their_list_record_the_sampler_that_was_chosen(tmp_path):
    file, folder = write_tiny(tmp_path / "m.safetensors"), tmp_path / "out"
    (tmp_path / "in").mkdir()
    picture(1).save(tmp_path / "in" / "a.png")
    asked = {"source": str(tmp_path / "in"), "output": folder, "model": str(file), "nfe": 6, "device": "cpu",
             "manifest": True}  # fmt: skip
    list(translate(TranslateRequest(**asked)))
    record, chosen = image_record(folder / "a.png"), choose(VPBridge(), 6)
    (line,) = (folder / "manifest.jsonl").read_text().splitlines()
    for name, known in (("sampler", SAMPLERS), ("grid", GRIDS)):
        wanted = build(known, getattr(chosen, name), what=name)
        assert build(known, record[name], what=name) == build(known, json.loads(line)[name], what=name) == wanted
    again = command(folder / "a.png", source=tmp_path / "in" / "a.png", models={})
    assert f"--sampler {chosen.sampler.partition(':')[0]}" in again and "--grid" in again
