"""The registry: its own tables are right, and a user's mistakes are explained."""

import dataclasses
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.degrade import HOLE
from ddbm_cli.models import ModelCard, assemble, builtin_path
from ddbm_cli.models.importers import card_of
from ddbm_cli.registry import entries, parse, read_registry
from ddbm_cli.registry.entries import own_registry
from ddbm_cli.registry.header import read_card_body
from ddbm_cli.registry.schema import checked
from ddbm_cli.samplers import GRIDS, SAMPLERS, STARTS
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import Planned
from tests.tiny import write_tiny

ROOT = Path(__file__).parent.parent.parent
OWN = read_registry()
IMPORTED = [name for name, entry in OWN.items() if entry.importer == "ddbm"]
LIKE_ADM = [name for name, entry in OWN.items() if entry.importer in ("adm", "i2sb")]
ADM = [name for name in LIKE_ADM if "classes" not in OWN[name].card["network"]]


def card(entry) -> ModelCard:
    """The card that an importer would write."""
    return card_of(entry)


@pytest.mark.parametrize("name", IMPORTED)
def test_a_table_describes_the_network_of_its_key_list(name, golden):
    """Every parameter, by name and shape; an entry without a key list may not be in the registry."""
    listed = json.loads((golden / f"keys.{name}.json").read_text())
    with torch.device("meta"):
        network = assemble(card(OWN[name])).network
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == listed["keys"]
    assert OWN[name].parameters == listed["parameters"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", ADM)
def test_adms_networks_are_ddbms_large_one_without_its_source(name, golden):
    """Its authors publish no list of names; DDBM's large network is theirs, but for the channels of its input."""
    listed = json.loads((golden / "keys.diode-vp-256.json").read_text())["keys"]
    listed["input_blocks.0.0.weight"][1] = 3
    with torch.device("meta"):
        network = assemble(card(OWN[name])).network
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == listed
    assert OWN[name].parameters == sum(p.numel() for p in network.parameters())


def test_adms_small_network_is_ddbms_small_one_without_its_source_and_with_classes(golden):
    listed = json.loads((golden / "keys.edges2handbags-vp-64.json").read_text())["keys"]
    listed["input_blocks.0.0.weight"][1] = 3
    with torch.device("meta"):
        network = assemble(card(OWN["adm-imagenet-64"])).network
    found = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert found == listed | {"label_emb.weight": [1000, 768]}
    assert OWN["adm-imagenet-64"].parameters == sum(p.numel() for p in network.parameters())


def test_dbims_inpainting_network_is_ddbms_large_one_with_classes(golden):
    listed = json.loads((golden / "keys.diode-vp-256.json").read_text())["keys"]
    with torch.device("meta"):
        network = assemble(card(OWN["dbim-imagenet-inpaint-256"])).network
    found = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert found == listed | {"label_emb.weight": [1000, 1024]}
    assert OWN["dbim-imagenet-inpaint-256"].parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", IMPORTED)
def test_a_table_agrees_with_the_options_of_the_released_model(name, golden):
    config = json.loads((golden / f"keys.{name}.json").read_text())["config"]
    made = OWN[name].card
    assert made["preprocess"]["size"] == config["image_size"]
    assert made["path"] == {"name": "vp-bridge", "beta_d": config["beta_d"], "beta_min": config["beta_min"]}
    assert config["pred_mode"] == "vp" and config["condition_mode"] == "concat"
    prediction = made["prediction"]
    assert (prediction["sigma_data"], prediction["cov"]) == (config["sigma_data"], config["cov_xy"])
    network = made["network"]
    assert network["channels"] == config["num_channels"] and network["blocks"] == config["num_res_blocks"]
    assert network["head_channels"] == config["num_head_channels"] and network["dropout"] == config["dropout"]
    wanted = sorted(config["image_size"] // int(each) for each in config["attention_resolutions"].split(","))
    assert network["attention"] == wanted


@pytest.mark.parametrize("name", IMPORTED)
def test_a_table_samples_as_its_authors_do(name):
    """The hybrid sampler: 40 steps of rho 7, churn 0.33, which are 119 network evaluations (3 N - 1)."""
    defaults, made = OWN[name].card["defaults"], card(OWN[name])
    sampler = build(SAMPLERS, defaults["sampler"], what="sampler")
    assert (sampler.churn, sampler.doob_weight) == (0.33, 1.0)
    assert build(GRIDS, defaults["grid"], what="grid").rho == 7.0
    assert build(STARTS, defaults["start"], what="start").name == "pinned"
    assert defaults["steps"] == 40 and made.clip and made.concat_source


def test_the_built_in_model_is_the_registered_one():
    entry = OWN["sketch-to-3d-64"]
    assert entry.builtin_file == builtin_path()
    assert (entry.size, entry.sha256) == (builtin_path().stat().st_size, sha256_of_file(builtin_path()))
    assert entry.facts()["task"] == entry.task and entry.facts()["licence"] == entry.licence


def test_an_entry_states_what_could_not_be_checked():
    for entry in OWN.values():
        assert entry.builtin or entry.sha256 or entry.note
        assert entry.licence_source


def test_the_packages_own_tables_pass_the_checks_of_a_users():
    for name, table in tomllib.loads(own_registry().read_text()).items():
        builtin = {"repo": "org/repo"} if table.pop("builtin", False) else {}
        checked(own_registry(), name, table | builtin, "correct it")


def test_the_registry_is_part_of_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"weights.toml": "ddbm_cli/weights.toml"}
    assert own_registry() == ROOT / "weights.toml"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write the user's registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDBM_WEIGHTS", raising=False)

    def write(text, name="weights.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


MINE = '[mine]\ntask = "a -> b"\nrepo = "me/mine"\nfile = "model.safetensors"\n'


def test_a_users_tables_add_models_and_never_replace_packaged_ones(own):
    own(MINE + '["diode-vp-256"]\ntask = "other"\nrepo = "me/other"\nfile = "x.safetensors"\n')
    registry = read_registry()
    assert list(registry) == [*OWN, "mine"]
    assert registry["diode-vp-256"] == OWN["diode-vp-256"]
    assert registry["mine"].origin.name == "weights.toml" and not registry["mine"].packaged
    (problem,) = registry.problems
    assert problem.name == "diode-vp-256" and "weights.toml" in problem.message and "not used" in problem.message


def test_a_named_registry_takes_the_place_of_the_folders(own, monkeypatch):
    own(MINE)
    other = own(MINE.replace("[mine]", "[theirs]"), "other.toml")
    monkeypatch.setenv("DDBM_WEIGHTS", str(other))
    assert list(read_registry()) == [*OWN, "theirs"]


OK = '[good]\ntask = "a -> b"\nrepo = "me/good"\nfile = "model.safetensors"\n'

BROKEN = {
    "no table": ("mine = 3\n", "not a table"),
    "unknown field": (MINE + "colour = 3\n", "colour: "),
    "missing field": ("[mine]\nrepo = 'a/b'\nfile = 'x'\n", "task"),
    "bad digest": (MINE + "sha256 = 'abc'\n", "sha256"),
    "bad repo": (MINE.replace("me/mine", "mine"), "repo"),
    "no source": ("[mine]\ntask = 'x'\nfile = 'x'\n", "neither 'repo' nor 'url'"),
    "no card": (MINE + "importer = 'ddbm'\n", "needs a card"),
    "bad name": (MINE.replace("[mine]", "['a/b']"), "name"),
    "built in": (MINE + "builtin = true\n", "builtin"),
    "packaged": (MINE + "packaged = true\n", "packaged"),
    "wrong type in the card": (MINE + "card = { preprocess = 3 }\n", "card.preprocess"),
    "unknown field in the card": (MINE + "card = { colour = 3 }\n", "card.colour"),
    "card of a later release": (MINE + "card = { format = 99 }\n", "format 99"),
    "huge number": (MINE + f"parameters = {10**30}\n", "parameters"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_table_is_skipped_and_reported(own, name):
    text, message = BROKEN[name]
    own((text + OK) if name == "no table" else OK + text)
    registry = read_registry()
    assert list(registry) == [*OWN, "good"]
    (problem,) = registry.problems
    assert message in problem.message and "weights.toml" in problem.message and problem.hint
    assert "\n" not in problem.message
    with pytest.raises(ModelError, match=re.escape(message)):
        parse(problem.name) if "/" not in problem.name else (_ for _ in ()).throw(ModelError(message, hint=""))


@pytest.mark.parametrize("body", [b"[mine", b"\xff\xfa", b"a = " + b"[" * 100_000, b"x = '" + b"a" * 2**23 + b"'"])
def test_a_registry_that_cannot_be_read_is_reported(own, tmp_path, monkeypatch, body):
    """In the working folder it is left out; where DDBM_WEIGHTS names it, it is an error."""
    own("")
    (tmp_path / "weights.toml").write_bytes(body)
    registry = read_registry()
    assert list(registry) == list(OWN)
    (problem,) = registry.problems
    assert "weights.toml: not readable (" in problem.message and len(problem.message) < 400
    monkeypatch.setenv("DDBM_WEIGHTS", "weights.toml")
    with pytest.raises(UsageError, match="not readable"):
        read_registry()


@pytest.mark.skipif(os.name == "nt", reason="no such files")
@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "link to itself", "link to nothing", "device", "sparse", "unreadable"]
)
def test_what_is_no_registry_file_is_reported_at_once(own, tmp_path, monkeypatch, kind):
    place = tmp_path / "weights.toml"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind in ("sparse", "unreadable"):
        with place.open("wb") as file:
            file.truncate(2**30 if kind == "sparse" else 0)
        place.chmod(0o000 if kind == "unreadable" else 0o644)
        if kind == "unreadable" and os.access(place, os.R_OK):
            pytest.skip("permissions do not bind this user")
    else:
        place.symlink_to({"link to itself": place, "link to nothing": "nowhere", "device": "/dev/zero"}[kind])
    registry = read_registry()
    (problem,) = registry.problems
    assert list(registry) == list(OWN) and "weights.toml: not readable (" in problem.message
    monkeypatch.setenv("DDBM_WEIGHTS", str(place))
    with pytest.raises(UsageError, match="not readable"):
        read_registry()


def test_a_registry_may_begin_with_a_byte_order_mark(own, tmp_path):
    own("")
    (tmp_path / "weights.toml").write_bytes(b"\xef\xbb\xbf" + MINE.encode())
    assert "mine" in read_registry()


def test_a_named_registry_must_exist(own, monkeypatch):
    monkeypatch.setenv("DDBM_WEIGHTS", "nowhere.toml")
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        read_registry()


def test_a_header_is_read_without_its_library(tmp_path):
    file = write_tiny(tmp_path / "m.safetensors")
    assert read_card_body(file)["name"] == "tiny"


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", (9).to_bytes(8, "little") + b"{" * 9],
    ids=["empty", "long", "no metadata", "list", "no json"],
)
def test_a_file_without_a_card_is_refused(tmp_path, body):
    (tmp_path / "m.safetensors").write_bytes(body)
    with pytest.raises(ModelError, match="no model card"):
        read_card_body(tmp_path / "m.safetensors")


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(ModelError, match="not readable"):
        read_card_body(tmp_path / "none.safetensors")


def test_the_size_is_known_about():
    entry = OWN["edges2handbags-vp-64"]
    assert entry.about_bytes == 1_180_545_804
    assert dataclasses.replace(entry, size=5).about_bytes == 5
    assert dataclasses.replace(entry, parameters=None).about_bytes is None


def test_a_file_that_is_on_no_hub_is_imported_by_hand():
    with pytest.raises(ModelError, match="not on the hub") as error:
        OWN["adm-lsun-bedroom"].hub_file  # noqa: B018
    assert (
        "https://" in error.value.hint and "weights import lsun_bedroom.pt --like adm-lsun-bedroom" in error.value.hint
    )


@pytest.mark.parametrize(
    ("name", "resize"),
    [("diode-vp-256", "nearest"), ("i2sb-sr4x-pool", "enlarge-nearest"), ("i2sb-sr4x-bicubic", "enlarge-nearest")],
)
def test_sources_of_public_models_are_resized_as_in_training(name, resize):
    assert OWN[name].card["preprocess"]["resize"] == resize


def test_the_hole_of_the_public_inpainting_model_is_grey():
    """DBIM sets it to 0 in -1..1."""
    assert HOLE == 0.0 and "mid-grey" in OWN["dbim-imagenet-inpaint-256"].card["data"]


@pytest.mark.parametrize("name", [name for name in OWN if "i2sb" in name or "dbim" in name])
def test_grids_of_tables_end_at_the_estimate(name):
    assert OWN[name].card["defaults"]["grid"]["t_min"] == 0


def test_a_run_with_the_default_model_names_the_others_for_its_kind_of_source(tmp_path, monkeypatch):
    """Those built in that make something else of a sketch; not photographs' models, nor ones to download."""
    own = builtin_path()
    built_in = f'licence = "MIT"\nbuiltin = true\nfile = "ddbm_cli/assets/{own.name}"\n'
    tables = {"a": "sketch -> 3D picture", "b": "sketch of a cat -> photo", "c": "photo -> sketch"}
    text = "".join(f'[{name}]\ntask = "{task}"\n{built_in}' for name, task in tables.items())
    listed = tmp_path / "listed.toml"
    listed.write_text(f'{text}[d]\ntask = "sketch -> photo"\nlicence = "MIT"\nrepo = "a/b"\nfile = "c"\n')
    monkeypatch.setattr(entries, "own_registry", lambda: listed)
    source = tmp_path / "in.png"
    Image.new("RGB", (8, 8), "white").save(source)
    for model, expected in ((None, "-m b: sketch of a cat -> photo"), (str(own), None)):
        request = translate.request(source=str(source), output=tmp_path / "out.png", model=model, dry_run=True)
        planned = next(event for event in translate.run(request) if isinstance(event, Planned))
        assert planned.facts.get("Others") == expected
