"""Methods as units: nothing else of the package knows one by its name or class."""

import ast
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import ddbm_cli
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.methods import DEFAULT_METHOD, METHODS, method_of, method_of_record
from ddbm_cli.methods.base import builtin_prior, portable_reference
from ddbm_cli.options.check import from_options
from ddbm_cli.options.translate import TranslateOptions, TranslateRequest

ROOT = Path(ddbm_cli.__file__).parent
ELSEWHERE = [file for file in ROOT.rglob("*.py") if file.relative_to(ROOT).parts[0] not in ("methods", "options")]
CLASSES = {type(method).__name__ for method in METHODS.values()} | {"DDIB"}


def request(**options):
    return from_options(TranslateRequest, {"source": "in.png", **options}, command="translate")


def test_no_other_file_asks_which_method_it_is():
    """No comparison with a method's name, and no isinstance of its class or of its model's."""
    nodes = [(file, node) for file in ELSEWHERE for node in ast.walk(ast.parse(file.read_text()))]
    for file, node in nodes:
        if isinstance(node, ast.Compare):
            constants = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
            names = {str(each) for each in constants} & (METHODS.keys() - {DEFAULT_METHOD})
            assert not names, f"{file}, line {node.lineno} compares with {names}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            assert not kinds & CLASSES, f"{file}, line {node.lineno} asks for {kinds & CLASSES}"


def test_the_package_and_its_checks_do_not_import_torch():
    script = (
        "import sys\n"
        "from ddbm_cli.methods import METHODS, method_of\n"
        "from ddbm_cli.options.translate import TranslateRequest\n"
        "for name in METHODS:\n"
        "    try:\n        method_of(TranslateRequest(source='x', method=name, strength=0.5))\n"
        "    except Exception as error:\n        assert type(error).__name__ == 'UsageError', error\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_declared_choices_are_the_methods():
    assert set(typing.get_args(TranslateOptions.__dataclass_fields__["method"].type.__args__[0])) == METHODS.keys()
    assert TranslateOptions.__dataclass_fields__["method"].default == DEFAULT_METHOD


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_declared_options_with_their_defaults(name):
    declared = {each.name: each.default for each in TranslateRequest.__dataclass_fields__.values()}
    method = METHODS[name]
    assert method.name == name and method.summary.endswith(".") and method.takes.items() <= declared.items()
    assert method.bare_number in declared


@pytest.mark.parametrize("name", METHODS)
def test_options_of_other_methods_are_refused(name, tmp_path):
    given = {"strength": 0.5, "repeats": 2, "guide": "blur", "mask": tmp_path, "source_model": "x"}
    needed = {"ddib": {"source_model": "x"}, "colour-transfer": {"to": tmp_path}}
    for option, value in given.items():
        asked = {"method": name, option: value} | needed.get(name, {})
        if option in METHODS[name].takes:
            assert method_of(request(**asked)) is METHODS[name]
            continue
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is for --method") as caught:
            method_of(request(**asked))
        assert "--method" in caught.value.hint


def test_an_unknown_method_is_refused_with_the_choices():
    with pytest.raises(UsageError, match="sdedti"):
        method_of(request(method="sdedti"))


def test_older_records_are_recognised():
    plain = {"start": {"name": "booted"}}
    assert method_of_record(plain).name == "bridge"
    assert method_of_record({"start": {"name": "noised", "strength": 0.5}}).name == "sdedit"
    assert method_of_record(plain | {"ddib": ["a", "b"]}).name == "ddib"
    assert all(method_of_record(plain | {"method": name}).name == name for name in METHODS)


def test_references_of_paths_and_of_builtin_models_are_not_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for path in ("runs", str(tmp_path), "/nowhere/model.safetensors", "diffusers:runs", None, "sketch-to-3d-64"):
        assert portable_reference(path) is None
    for name in ("edges2handbags-vp-64", "owner/repository", "diffusers:owner/repository@main"):
        assert portable_reference(name) == name


def test_priors_are_the_builtin_one_unless_one_is_given():
    assert builtin_prior(None) == "prior-3d-64" and builtin_prior("mine") == "mine"
    assert [method.reference(request()) for method in METHODS.values()] == [None, "prior-3d-64", "prior-3d-64", None]


def test_fast_is_an_option_of_bridges_and_names_the_distilled_model(tmp_path, monkeypatch):
    table = 'task = "a -> b"\nfile = "m.safetensors"\nrepo = "owner/name"\n'
    (tmp_path / "weights.toml").write_text(f'[slow]\n{table}fast = "quick"\n[quick]\n{table}')
    monkeypatch.setenv("DDBM_WEIGHTS", str(tmp_path / "weights.toml"))
    bridge = METHODS["bridge"]
    assert bridge.reference(request(model="slow")) == "slow"
    assert bridge.reference(request(model="slow", fast=True)) == "quick"
    assert bridge.reference(request(model="quick", fast=True)) == "quick"
    with pytest.raises(ModelError, match="model 'prior-3d-64' has no version for --fast") as error:
        bridge.reference(request(model="prior-3d-64", fast=True))
    assert "--task distill --teacher prior-3d-64" in error.value.hint
    with pytest.raises(UsageError, match="--fast is for --method bridge"):
        method_of(request(method="sdedit", fast=True))
