"""Errors about arguments come before torch is imported: within a fraction of a second, for every command."""

import json
import os
import subprocess
import sys

import pytest

from tests.tiny import picture, write_tiny

TRANSLATE = ["translate", "in", "out"]
SAMPLE = ["sample", "-o", "out"]
TRAIN = ["train", "pairs"]
COMPARE = ["compare", "in"]
EVALUATE = ["evaluate", "in", "in"]
EDGES = ["data", "edges", "in", "out"]

WRONG = {
    2: [
        [*TRANSLATE, "--sampler", "nonsense"],
        [*TRANSLATE, "--sampler", "dbim:nonsense=1"],
        [*TRANSLATE, "--sampler", "dbim:eta=7"],
        [*TRANSLATE, "--sampler", "dbim:eta"],
        [*TRANSLATE, "--grid", "nonsense"],
        [*TRANSLATE, "--grid", "karras:rho=-1"],
        [*TRANSLATE, "--nfe", "0"],
        [*TRANSLATE, "--nfe", "x"],
        [*TRANSLATE, "--steps", "0"],
        [*TRANSLATE, "--nfe", "5", "--steps", "5"],
        [*TRANSLATE, "--seed", "-1"],
        [*TRANSLATE, "--fit", "sideways"],
        [*TRANSLATE, "--quality", "0"],
        [*TRANSLATE, "-b", "0"],
        [*TRANSLATE, "-b", "some"],
        [*TRANSLATE, "--device", "abacus"],
        [*TRANSLATE, "--dtype", "fp7"],
        [*TRANSLATE, "--format", "xyz"],
        [*TRANSLATE, "--nonsense"],
        [*TRANSLATE, "third"],
        [*TRANSLATE, "--method", "magic"],
        [*TRANSLATE, "--method", "ddib"],
        [*TRANSLATE, "--source-model", "prior-3d-64"],
        [*TRANSLATE, "--strength", "1.5"],
        [*TRANSLATE, "--method", "ddib", "--source-model", "prior-3d-64", "--strength", "0.5"],
        [*TRANSLATE, "--direction", "up"],
        [*TRANSLATE, "--method", "sdedit", "--strength", "7"],
        [*TRANSLATE, "--method", "sdedit", "--strength", "x"],
        [*TRANSLATE, "--method", "sdedit", "--repeats", "0"],
        [*TRANSLATE, "--method", "sdedit", "--guide", "magic"],
        [*TRANSLATE, "--method", "sdedit", "--mask", "none.png"],
        [*TRANSLATE, "--guidance-scale", "-1"],
        [*TRANSLATE, "--perturbed-guidance", "fog"],
        [*TRANSLATE, "--sampler", "auto:eta=1"],
        [*TRANSLATE, "-o", "out"],
        ["translate"],
        ["translate", "none", "out"],
        ["translate", "none/*.png", "out"],
        ["translate", "empty", "out"],
        ["translate", "in", "in"],
        ["translate", "in/0.png", "in/0.png", "--overwrite"],
        ["translate", "in", "file/out"],
        ["translate", "in", "-"],
        ["translate", "-", "-", "--json"],
        ["sample"],
        [*SAMPLE, "-n", "0"],
        [*SAMPLE, "--sampler", "nonsense"],
        [*SAMPLE, "--nfe", "0"],
        ["sample", "none", "-o", "out"],
        [*SAMPLE, "--sheet", "sheet.jpg"],
        [*SAMPLE, "--npz", "all.txt"],
        ["sample", "in", "-o", "out", "--encode", "none"],
        ["train"],
        ["train", "none"],
        [*TRAIN, "--path", "nonsense"],
        [*TRAIN, "--path", "vp-bridge:beta_d=x"],
        [*TRAIN, "--prediction", "nonsense"],
        [*TRAIN, "--network", "nonsense"],
        [*TRAIN, "--network", "adm:channels=x"],
        [*TRAIN, "--times", "nonsense"],
        [*TRAIN, "--objective", "nonsense"],
        [*TRAIN, "--augment", "flipp"],
        [*TRAIN, "--precision", "fp7"],
        [*TRAIN, "--steps", "0"],
        [*TRAIN, "--size", "1"],
        [*TRAIN, "--learning-rate", "-1"],
        [*TRAIN, "--config", "none.toml"],
        [*TRAIN, "--config", "broken.toml"],
        [*TRAIN, "--config", "unknown.toml"],
        [*TRAIN, "--config", "flat.toml"],
        ["train", "--resume", "none"],
        ["compare", "none"],
        [*COMPARE, "--with", "nonsense"],
        [*COMPARE, "--with", "dbim:x"],
        [*COMPARE, "--with", "dbim:eta=7"],
        [*COMPARE, "--with", "dbim:5", "--with", "dbim:5"],
        [*COMPARE, "-o", "out.xyz"],
        [*COMPARE, "--nfe", "0"],
        [*COMPARE, "--nfe", "5", "--seconds", "1"],
        [*COMPARE, "-t", "none"],
        ["evaluate"],
        ["evaluate", "none", "in"],
        ["evaluate", "in", "none"],
        [*EVALUATE, "--metrics", "beauty"],
        [*EVALUATE, "--csv", "--json"],
        [*EVALUATE, "--resize", "both"],
        [*EVALUATE, "--device", "abacus"],
        [*EVALUATE, "--sketches", "none"],
        ["data", "edges", "none", "out"],
        [*EDGES, "--size", "1"],
        [*EDGES, "--style", "oil"],
        [*EDGES, "--split-by", "none.tsv"],
        ["data", "instruct", "none", "out"],
        ["data", "instruct", "in", "out", "--candidates", "3"],
        ["data", "instruct", "broken.toml", "out"],
        ["data", "instruct", "broken.toml", "out", "-m", "diffusers:x", "--endpoint", "file:///etc/passwd"],
        ["data", "instruct", "broken.toml", "out", "-m", "diffusers:x", "--min-p", "0.95"],
        ["tune", "m.safetensors"],
        ["tune", "m.safetensors", "none"],
        ["tune", "m.safetensors", "pairs", "--nfe", "1"],
        ["tune", "m.safetensors", "pairs", "--nfe", "some"],
        ["tune", "m.safetensors", "pairs", "--images", "1"],
        ["tune", "m.safetensors", "pairs", "--device", "abacus"],
        ["tune", "m.safetensors", "pairs", "-o", "there.html"],
        ["doctor", "--device", "abacus"],
        ["weights", "export", "m.safetensors", "there.html"],
        ["weights", "export", "m.safetensors", "x", "-f", "zip"],
        ["weights", "export", "m.safetensors", "x", "--dtype", "fp7"],
        ["weights", "import", "m.safetensors", "--like", "nonsense"],
        ["weights", "import", "m.safetensors", "-o", "there.html"],
        ["weights", "rm", "prior-3d-64", "-y"],
        ["weights", "nonsense"],
        ["nonsense"],
        ["show", "m.safetensors", "--command"],
    ],
    4: [
        [*TRANSLATE, "-m", "missing.safetensors"],
        [*TRANSLATE, "-m", "diode-vp-265"],
        [*TRANSLATE, "-m", "runs/mien"],
        ["sample", "-o", "out", "-m", "missing.safetensors"],
        [*COMPARE, "-m", "missing.safetensors"],
        [*TRAIN, "--from", "missing.safetensors"],
        [*EVALUATE, "-m", "missing.safetensors"],
        ["tune", "missing.safetensors", "pairs"],
        ["weights", "info", "nonsense"],
        ["weights", "path", "nonsense"],
        ["weights", "pull", "nonsense"],
        ["weights", "verify", "nonsense"],
        ["weights", "rm", "nonsense", "-y"],
        ["weights", "export", "nonsense", "x"],
        ["weights", "import", "none.pt", "--like", "diode-vp-256"],
        ["show", "none.safetensors"],
    ],
}

SCRIPT = """
import json, os, sys
sys.modules["torch"] = None  # whoever imports it fails
from ddbm_cli.cli.main import main
found = []
for words in json.loads(os.environ["COMMANDS"]):
    sys.argv = ["ddbm", *words]
    try:
        main()
    except SystemExit as stop:
        found.append(stop.code or 0)
    sys.stderr.flush()
    os.write(2, b"<<<>>>")
os.write(1, json.dumps(found).encode())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early")
    for name in ("in", "pairs/A", "pairs/B"):
        (folder / name).mkdir(parents=True)
        for index in range(2):
            picture(index, 20).save(folder / name / f"{index}.png")
    (folder / "empty").mkdir()
    write_tiny(folder / "m.safetensors")
    (folder / "there.html").touch()
    (folder / "file").touch()
    (folder / "broken.toml").write_text("[")
    (folder / "unknown.toml").write_text("nonsense = 1")
    (folder / "flat.toml").write_text("batch_size = 4")
    return folder


@pytest.fixture(scope="module")
def found(place):
    """Return what each wrong command gave: its exit code and its words."""
    commands = [words for some in WRONG.values() for words in some]
    environment = os.environ | {"COMMANDS": json.dumps(commands), "HF_HUB_OFFLINE": "1", "DDBM_DEBUG": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    words = done.stderr.split("<<<>>>")
    codes = json.loads(done.stdout[done.stdout.rindex("[") :])
    return {tuple(command): each for command, *each in zip(commands, codes, words, strict=False)}


@pytest.mark.parametrize(("code", "command"), [(code, each) for code, some in WRONG.items() for each in some], ids=str)
def test_a_wrong_argument_is_explained_before_torch_is_imported(found, code, command):
    got, words = found[tuple(command)]
    lines = words.strip().splitlines()
    assert "torch" not in words, words
    assert got == code, words
    assert len(lines) == 2 and lines[0].startswith("Error: ") and lines[1].startswith("  Hint: "), words
    assert "unexpected" not in words.replace("unexpected extra argument", "")


def test_the_early_checks_accept_what_the_tasks_accept():
    from ddbm_cli.cli import early
    from ddbm_cli.imaging.guides import GUIDES

    assert set(early.GUIDES) == set(GUIDES)
