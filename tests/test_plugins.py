"""Paths, samplers and metrics of other packages: the examples of the manual, installed as a distribution."""

import re
import subprocess
import sys

import pytest
from PIL import Image

from ddbm_cli.cli.manual import pages
from ddbm_cli.foundation import plugins
from ddbm_cli.foundation.errors import UsageError
from tests.tiny import SMALLEST, picture, write_pairs, write_tiny


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on sys.path with a distribution: the manual's examples, and some that do not work."""
    site = tmp_path / "site"
    package, facts = site / "plugged", site / "plugged-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").touch()
    for kind in ("path", "sampler", "metric"):
        (code,) = re.findall(r"```python\n(.*?)```", pages()[f"adding-a-{kind}"].read_text(), re.DOTALL)
        (package / f"{kind}s.py").write_text(code)
    (package / "broken.py").write_text("raise RuntimeError('no')\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[ddbm_cli.paths]\nquarter-turn = plugged.paths:QuarterTurn\n"
        "[ddbm_cli.samplers]\nmidpoint = plugged.samplers:Midpoint\nbroken = plugged.broken:Broken\n"
        "other = plugged.samplers:Midpoint\nheun = plugged.broken:Broken\n"
        "[ddbm_cli.metrics]\nbrightness = plugged.metrics:Brightness\n"
    )
    monkeypatch.syspath_prepend(site)
    plugins._entry.cache_clear()
    yield site
    plugins._entry.cache_clear()


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "tiny.safetensors")


def test_a_sampler_of_another_package_translates(ddbm, installed, tmp_path, model):
    picture(0).save(tmp_path / "in.png")
    arguments = ["translate", tmp_path / "in.png", tmp_path / "out.png", "-m", model, "--sampler", "midpoint"]
    code, _, err = ddbm(*arguments, "--steps", 2)
    assert code == 0 and "midpoint" in err, err
    assert Image.open(tmp_path / "out.png").size == (16, 16)
    code, out, err = ddbm("show", tmp_path / "out.png", "--command", "--search", tmp_path)
    assert code == 0 and b"--sampler midpoint" in out, err


def test_a_path_of_another_package_trains_and_translates(ddbm, installed, tmp_path):
    write_pairs(tmp_path / "pairs", 4)
    code, _, err = ddbm(
        *("train", tmp_path / "pairs", "-o", tmp_path / "run", "--path", "quarter-turn", "--network", SMALLEST),
        *("--size", 16, "--steps", 1, "-b", 2, "--validate-every", 1, "--device", "cpu"),
    )
    assert code == 0, err
    code, out, err = ddbm("translate", tmp_path / "pairs" / "A", tmp_path / "out", "-m", tmp_path / "run")
    assert code == 0 and len(out.splitlines()) == 4, err


def test_a_metric_of_another_package_measures(ddbm, installed, tmp_path):
    for folder, index in (("out", 0), ("truth", 1)):
        (tmp_path / folder).mkdir()
        picture(index).save(tmp_path / folder / "a.png")
    code, out, err = ddbm("evaluate", tmp_path / "out", tmp_path / "truth", "--metrics", "brightness,mse")
    assert code == 0 and b"Brightness difference" in out, err


def test_the_names_of_this_package_come_first(installed):
    from ddbm_cli.foundation.settings import build
    from ddbm_cli.samplers import SAMPLERS, HybridHeun

    assert build(SAMPLERS, "heun", what="sampler") == HybridHeun()


def test_nothing_foreign_is_imported_for_known_names(installed, model, tmp_path, ddbm):
    picture(0).save(tmp_path / "in.png")
    before = set(sys.modules)
    assert ddbm("translate", tmp_path / "in.png", tmp_path / "x.png", "-m", model, "--sampler", "dbim")[0] == 0
    assert not {name for name in set(sys.modules) - before if name.startswith("plugged")}


@pytest.mark.parametrize(("name", "words"), [("broken", "cannot be imported"), ("other", "name = 'other'")])
def test_a_package_that_does_not_work_is_named(installed, name, words):
    with pytest.raises(UsageError, match=words) as caught:
        plugins.find("samplers", name)
    assert "plugged" in caught.value.message and "pip uninstall plugged" in caught.value.hint


def test_an_unknown_name_is_still_unknown(installed, ddbm):
    code, _, err = ddbm("translate", "in.png", "--sampler", "midpiont")
    assert code == 2 and "unknown sampler 'midpiont'" in err


def test_an_installed_package_is_found_by_a_new_process(installed):
    script = "from ddbm_cli.options.names import check_spec\ncheck_spec('samplers', 'midpoint')"
    first = f"import sys\nsys.path.insert(0, {str(installed)!r})\n"
    subprocess.run([sys.executable, "-c", first + script], check=True)
