"""`ddbm weights` and every -m: what is said, what is written where, and the exit codes."""

import json
import random
from pathlib import Path

import pytest
from huggingface_hub import constants

from ddbm_cli.cli.bars import human
from ddbm_cli.models import builtin_path, load_model
from ddbm_cli.registry import read_registry
from tests.hub import cut, wrong_bytes
from tests.tiny import picture, write_tiny

TABLES = """
[plain]
task = "a -> b"
repo = "org/repo"
file = "model.safetensors"
licence = "CC0"

[foreign]
task = "a -> b"
repo = "org/repo"
file = "old.pt"
importer = "ddbm"
parameters = 12500

[foreign.card]
limits = "few"
"""
BODY = random.Random(0).randbytes(50_000)


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch, hub):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDBM_WEIGHTS", raising=False)
    Path("weights.toml").write_text(TABLES)
    model = write_tiny(tmp_path / "tiny.safetensors").read_bytes()
    hub.add("org/repo", {"model.safetensors": model, "old.pt": BODY})


@pytest.fixture
def importer(monkeypatch):
    """Stands in for the importer."""
    fake = lambda source, output, entry: write_tiny(output, name=entry.name)  # noqa: E731
    monkeypatch.setattr("ddbm_cli.models.resolve.import_file", fake)


def records(out):
    return [json.loads(line) for line in out.decode().splitlines()]


def test_list(ddbm, hub):
    code, out, err = ddbm("weights", "list")
    lines = out.decode().splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["NAME", "TASK", "PIXELS", "STATUS", "LICENCE", "PATH", "SOURCE"]
    place = lines[0].index("STATUS")
    cached = {line.split()[0]: line[place:].split("  ")[0] for line in lines[1:]}
    assert {"edges2handbags-vp-64", "diode-vp-256", "adm-lsun-bedroom", "plain", "foreign"} < cached.keys()
    built_in = {entry.name for entry in read_registry().values() if entry.builtin}
    assert {name for name, word in cached.items() if word in ("built in", "default")} == built_in
    assert [name for name, word in cached.items() if word == "default"] == [builtin_path().stem]
    assert not hub.requests


def test_list_reports_what_is_downloaded(ddbm, hub, importer):
    ddbm("weights", "pull", "plain", "foreign")
    found = {each["name"]: each for each in records(ddbm("weights", "list", "--json")[1])}
    assert [found[name]["cached"] for name in ("plain", "foreign", "diode-vp-256")] == ["yes", "yes", False]
    assert [name for name, each in found.items() if each["default"]] == [builtin_path().stem]
    assert found["plain"]["licence"] == "CC0" and found["foreign"]["parameters"] == 12500


def test_info(ddbm, hub):
    code, out, _ = ddbm("weights", "info", "edges2handbags-vp-64")
    text = out.decode()
    assert code == 0
    for words in (
        "edges -> handbag photo",
        "64x64 pixels",
        "295.1 M parameters",
        "heun:churn=0.33, grid karras:rho=7.0, start pinned, 40 steps",
        "MIT (model card of the repository)",
        "none published: the first download is recorded",
        "could not be downloaded when this table was written",
        "downloads about 1.18 GB and converts it once",
        "vp-bridge:beta_d=2.0,beta_min=0.1",
    ):
        assert words in text
    assert "\x1b" not in text and not hub.requests
    (record,) = records(ddbm("weights", "info", "diode-vp-256", "--json")[1])
    assert record["card"]["network"]["channels"] == 256


def test_info_of_the_built_in_model_reads_its_file(ddbm):
    text = ddbm("weights", "info", "sketch-to-3d-64")[1].decode()
    score = load_model(device="cpu").card.scores["ink"]["nfe_2"]
    assert str(builtin_path()) in text and "Fluent Emoji" in text and f"nfe 2 {score}" in text
    assert "Scores      ink: blank page " in text and "\n            pencil: blank page " in text  # a line for each


def test_info_of_an_autoencoder_says_how_to_train_with_it(ddbm):
    assert "ddbm train PAIRS --codec autoencoder-8x -o RUN" in ddbm("weights", "info", "autoencoder-8x")[1].decode()


def test_unknown_names_are_explained(ddbm):
    code, out, err = ddbm("weights", "info", "diode-vp-265")
    assert (code, out) == (4, b"")
    assert "did you mean diode-vp-256?" in err
    assert ddbm("weights", "info", "org/repo")[0] == 4  # not downloaded


def test_pull_fetches_once(ddbm, hub):
    code, out, err = ddbm("weights", "pull", "plain")
    path = Path(out.decode().strip())
    assert code == 0 and path.read_bytes() == hub.repos["org/repo"].files["model.safetensors"]
    assert "Download" in err and "1 fetched" in err and "\x1b" not in err
    hub.requests.clear()
    *_, record, last = records(ddbm("weights", "pull", "plain", "--json", "-q")[1])
    assert (record["event"], record["fresh"], record["path"], last["event"]) == ("pulled", False, str(path), "finished")
    assert not hub.requests


def test_pull_converts(ddbm, hub, importer):
    code, out, err = ddbm("weights", "pull", "foreign")
    path = Path(out.decode().strip())
    assert code == 0 and path.name.startswith("foreign-") and "once" in err
    assert ddbm("weights", "path", "foreign") == (0, out, "")
    assert ddbm("weights", "pull", "foreign", "-q") == (0, out, "")


def test_pull_may_say_only_what_it_would_do(ddbm, hub, importer):
    code, out, err = ddbm("weights", "pull", "plain", "foreign", "sketch-to-3d-64", "--dry-run")
    size = human(len(hub.repos["org/repo"].files["model.safetensors"]))
    assert (code, err) == (0, "")
    assert out.decode().splitlines() == [
        f"plain: {size} to download (org/repo:model.safetensors)",
        "foreign: 50 kB to download, converted once (org/repo:old.pt)",
        "sketch-to-3d-64: nothing to download (local)",
    ]
    assert not hub.downloads()
    hub.faults += [cut(20_000)] + [cut(0)] * 9
    assert ddbm("weights", "pull", "foreign")[0] == 4
    (record,) = records(ddbm("weights", "pull", "foreign", "--dry-run", "--json")[1])
    assert record["bytes"] == 30_000  # the rest
    hub.faults.clear()
    ddbm("weights", "pull", "foreign")
    assert records(ddbm("weights", "pull", "foreign", "--dry-run", "--json")[1])[0]["bytes"] == 0


@pytest.mark.parametrize("names", [["org/none"], ["org/none", "./none"]])
def test_pull_of_nothing_that_can_be_had(ddbm, hub, names):
    code, out, err = ddbm("weights", "pull", *names)
    assert (code, out) == (4, b"") and err.count("Error:") == len(names)


def test_a_model_that_is_not_available_is_skipped_and_reported(ddbm, hub):
    code, out, err = ddbm("weights", "pull", "org/none", "plain")
    assert code == 3 and len(out.splitlines()) == 1
    assert "no repository 'org/none'" in err and "1 fetched, 1 failed" in err


def test_a_changed_file_is_taken_only_when_it_is_accepted(ddbm, hub):
    ddbm("weights", "pull", "plain")
    ddbm("weights", "rm", "plain", "--yes")
    hub.add("org/repo", {"model.safetensors": BODY})
    code, _, err = ddbm("weights", "pull", "plain")
    assert code == 4 and "--accept-change" in err
    assert ddbm("weights", "pull", "plain", "--accept-change")[0] == 0
    assert ddbm("weights", "pull", "plain")[0] == 0


def test_path_is_of_downloaded_models_only(ddbm, hub):
    code, out, err = ddbm("weights", "path", "plain")
    assert (code, out) == (4, b"") and "ddbm weights pull plain" in err
    assert not hub.requests
    assert ddbm("weights", "path", "sketch-to-3d-64")[1].decode().strip() == str(builtin_path())


def test_verify(ddbm, hub, importer):
    ddbm("weights", "pull", "plain", "foreign")
    code, out, err = ddbm("weights", "verify")
    good = 3 + sum(entry.builtin for entry in read_registry().values())  # foreign has its download and its conversion
    assert code == 0 and len(out.splitlines()) == good and f"{good} good" in err
    assert ddbm("weights", "verify", "diode-vp-256")[0] == 4


@pytest.mark.parametrize("name", ["plain", "foreign"])
@pytest.mark.parametrize("hidden", [True, False])
def test_verify_finds_what_is_damaged(ddbm, hub, importer, name, hidden):
    """Also where size and time are as they were."""
    import os

    path = Path(ddbm("weights", "pull", name)[1].decode().strip())
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"?")
    if hidden:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, _, err = ddbm("weights", "verify", name)
    assert code == 3 and "damaged" in err and f"ddbm weights pull {name}" in err
    assert not path.exists()
    assert ddbm("weights", "pull", name)[1].decode().strip() == str(path)
    assert ddbm("weights", "verify", name)[0] == 0


def test_verify_never_removes_a_file_that_a_registry_calls_built_in(ddbm, tmp_path):
    canary = tmp_path / "canary.txt"
    canary.write_text("canary")
    Path("weights.toml").write_text(TABLES + f'[x]\ntask = "a"\nfile = "{canary}"\nbuiltin = true\n')
    code, _, err = ddbm("weights", "verify")
    assert code == 0 and canary.read_text() == "canary" and "weights.toml: [x]: builtin" in err
    code, _, err = ddbm("weights", "verify", "x")
    assert code == 4 and "weights.toml: [x]: builtin" in err


@pytest.mark.parametrize("file", ["/etc/hostname", "../../canary.txt", "a/../../../canary.txt"])
def test_verify_skips_a_table_with_an_impossible_path(ddbm, file):
    Path("weights.toml").write_text(TABLES + f'[x]\ntask = "a"\nrepo = "a/b"\nfile = "{file}"\n')
    code, _, err = ddbm("weights", "verify")
    assert code == 3 and "not a path in a repository" in err


def test_a_damaged_built_in_file_is_reported_and_kept(ddbm, tmp_path, monkeypatch):
    copy = tmp_path / "builtin.safetensors"
    copy.write_bytes(builtin_path().read_bytes()[:-1] + b"?")
    monkeypatch.setattr("ddbm_cli.registry.entry.Entry.builtin_file", copy)
    for command in ("verify", "pull"):
        code, _, err = ddbm("weights", command, "prior-3d-64")
        assert code in (3, 4) and "damaged" in err and "reinstall" in err and copy.exists()


def test_verify_keeps_what_another_program_downloaded(ddbm, hub):
    """Even if it is damaged, or a registry states another digest; pull replaces it when the download is complete."""
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download("org/repo", "model.safetensors"))
    before = path.read_bytes()
    Path("weights.toml").write_text(TABLES.replace('licence = "CC0"', f'sha256 = "{"0" * 64}"'))
    code, _, err = ddbm("weights", "verify", "plain")
    assert code == 3 and path.read_bytes() == before and "another program" in err
    path.resolve().write_bytes(b"damaged")
    Path("weights.toml").write_text(TABLES)
    assert ddbm("weights", "verify", "plain")[0] == 3 and path.read_bytes() == b"damaged"
    assert ddbm("weights", "pull", "plain")[0] == 0 and path.read_bytes() == before


def test_verify_keeps_a_download_that_only_the_registry_disagrees_with(ddbm, hub):
    path = Path(ddbm("weights", "pull", "plain")[1].decode().strip())
    Path("weights.toml").write_text(TABLES.replace('licence = "CC0"', f'sha256 = "{"0" * 64}"'))
    code, _, err = ddbm("weights", "verify", "plain")
    assert code == 3 and "unchanged since its download" in err and path.exists()


def test_rm_keeps_the_bytes_that_another_name_has(ddbm, hub):
    body = hub.repos["org/repo"].files["model.safetensors"]
    hub.add("org/repo", {"model.safetensors": body, "copy.safetensors": body})
    paths = [
        Path(ddbm("weights", "pull", f"org/repo:{name}.safetensors")[1].decode().strip()) for name in ("model", "copy")
    ]
    assert ddbm("weights", "rm", "org/repo:model.safetensors", "--yes")[0] == 0
    assert not paths[0].exists() and paths[1].read_bytes() == body


def test_rm(ddbm, hub, importer):
    ddbm("weights", "pull", "foreign")
    code, out, err = ddbm("weights", "rm", "foreign", "--yes")
    assert code == 0 and b"freed" in out
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.pt")) and not list(Path("home/cache").rglob("*.safetensors"))
    code, _, err = ddbm("weights", "rm", "foreign", "--yes")
    assert code == 4 and "is not downloaded" in err
    code, _, err = ddbm("weights", "rm", "sketch-to-3d-64", "--yes")
    assert code == 2 and "built in" in err and builtin_path().exists()


def test_rm_asks(ddbm, hub):
    ddbm("weights", "pull", "plain")
    code, _, err = ddbm("weights", "rm", "plain")
    assert code == 2 and "--yes" in err
    assert ddbm("weights", "path", "plain")[0] == 0


@pytest.mark.parametrize("reference", ["plain", "org/repo", "hf://org/repo/model.safetensors", "tiny.safetensors"])
def test_translate_takes_any_reference(ddbm, hub, reference):
    picture(0).save("in.png")
    code, _, err = ddbm("translate", "in.png", "out.png", "-m", reference, "-d", "cpu")
    assert code == 0 and Path("out.png").exists()
    assert ("Download" in err) == (reference != "tiny.safetensors")


def test_a_dry_run_of_translate_fetches_nothing(ddbm, hub):
    picture(0).save("in.png")
    code, _, err = ddbm("translate", "in.png", "out.png", "-m", "plain", "--dry-run")
    assert code == 4 and "ddbm weights pull plain" in err and not hub.requests


def test_wrong_bytes_are_never_translated_with(ddbm, hub):
    picture(0).save("in.png")
    hub.faults += [wrong_bytes()] * 2
    code, _, err = ddbm("translate", "in.png", "out.png", "-m", "plain")
    assert code == 4 and "wrong bytes" in err and not Path("out.png").exists()


def test_bytes_are_said_as_people_say_them():
    wanted = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 12_324_440: "12.3 MB", 1_180_545_804: "1.18 GB"}
    assert {size: human(size) for size in wanted} == wanted
    assert human(999_900) == "1 MB" and human(None) == "of unknown size"
