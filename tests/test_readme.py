"""The README tells the truth."""

import re
import tomllib
from pathlib import Path

import pytest

from ddbm_cli.samplers import ALIASES, GRIDS, SAMPLERS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["result"].shape == (2, 3, 64, 64)


@pytest.mark.parametrize("name", [*SAMPLERS, *ALIASES, *GRIDS])
def test_every_sampler_and_grid_is_named(name):
    assert f"`{name}" in TEXT


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_table_names_every_field(name):
    (row,) = re.findall(rf"^\| `{name}`.*$", TEXT, re.MULTILINE)
    for field in SAMPLERS[name].__dataclass_fields__.values():
        if "ClassVar" not in str(field.type):
            assert f"`{field.name}`" in row


def test_files_that_it_names_exist():
    for name in re.findall(r"`((?:tests|ddbm_cli)/[\w./-]+)`", TEXT):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"python -m (tests\.[\w.]+)", TEXT):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module


def test_dependencies_have_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        assert re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+", line), line
