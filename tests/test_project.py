"""The project's files agree: checks before a commit and in CI, classifiers and versions, the package's data."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy", "python -m pytest"])
def test_ci_and_pre_commit_run_the_same_checks(command):
    assert command in (ROOT / ".ci" / "run").read_text()
    entries = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert any(entry.startswith(command) for entry in entries)


def test_the_classifiers_name_the_supported_versions():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    named = [each.rpartition(":: ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert named[0] == lowest and named == sorted(named, key=lambda each: int(each.partition(".")[2]))


def test_contributing_names_files_and_pages_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in re.findall(r"`((?:tests|ddbm_cli|options)/[\w./-]*)`", text):
        assert (ROOT / name).exists() or (ROOT / "ddbm_cli" / name).exists() or "TOPIC" in name, name
    for topic in re.findall(r"`ddbm manual ([\w-]+)`", text):
        assert (ROOT / "ddbm_cli" / "manual" / f"{topic}.md").exists(), topic


def test_ci_installs_the_lowest_versions_of_all_dependencies_but_torch():
    from tests.lowest import constraints

    names = {
        re.split(r"[\[>]", line)[0] for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])
    }
    pinned = dict(line.split("==") for line in constraints("test"))
    assert pinned.keys() == names - {"torch"} and "python -m tests.lowest test" in (ROOT / ".ci" / "run").read_text()
    assert all(f"{name}>={version}" in (ROOT / "pyproject.toml").read_text() for name, version in pinned.items())


def test_every_folder_of_tests_is_a_package():
    """Otherwise two files of one name in two folders cannot be collected together."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        assert (file.parent / "__init__.py").exists(), file.parent
