"""The README: its length, its links, and every command and piece of Python in it."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.test_manual import commands, run_commands, sandbox

__all__ = ["sandbox"]

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text()


def test_it_has_at_most_200_lines():
    assert len(TEXT.splitlines()) <= 200


def test_its_commands_run(sandbox, tmp_path, monkeypatch, ddbm):
    assert len(commands(README)) > 10
    run_commands(README, sandbox, tmp_path / "work", monkeypatch, ddbm)


@pytest.mark.network
def test_its_commands_that_need_the_network_run(sandbox, tmp_path, monkeypatch, ddbm):
    shutil.copytree(sandbox, tmp_path / "work")
    shutil.copytree(sandbox / "sketches", tmp_path / "work" / "outlines")
    monkeypatch.chdir(tmp_path / "work")
    for line in commands(README, network=True):
        assert ddbm(*shlex.split(line)[1:])[0] == 0, line


def test_every_command_is_run_or_marked():
    """All blocks are `console`, `console network` or `python`, or one of the two set-up commands, which CI runs."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    plain = [body.strip() for mark, body in blocks if mark not in ("console", "console network", "python")]
    assert plain == [
        "pip install . && ddbm translate ddbm_cli/assets/sketches pictures",
        'pip install ".[test]" && python -m pytest',
    ]


def test_its_python_runs(sandbox, monkeypatch):
    monkeypatch.chdir(sandbox)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["image"].size == (64, 64)


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "ddbm_cli" / "manual").glob("*.md"))], ids=lambda p: p.name)
def test_files_and_links_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`((?:tests|ddbm_cli)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"python -m (tests\.[\w.]+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module


def test_every_benchmark_is_in_the_manual():
    text = (ROOT / "ddbm_cli" / "manual" / "benchmarks.md").read_text()
    for file in (ROOT / "tests" / "benchmarks").glob("[!_]*.py"):
        assert f"python -m tests.benchmarks.{file.stem}" in text, file.stem


def test_dependencies_have_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        assert re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+", line), line
