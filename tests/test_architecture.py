"""The shape of the house: who may import whom, what starts fast, and that no file is forgotten."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType

import pytest

import ddbm_cli

ROOT = Path(ddbm_cli.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LONGEST, LONGEST_TESTS = 350, 430
"""Lines of a file of the package, and of one of the tests."""

# A package may import from packages below its own line; those of one line never import each other.
LAYERS = [
    {"cli", "api"},
    {"serve"},
    {"tasks"},
    {"training", "comparison"},
    {"methods"},
    {"objectives", "models", "metrics"},
    {"samplers"},
    {"denoisers", "codecs"},
    {"paths", "networks", "imaging", "registry"},
    {"options"},
    {"foundation"},
]
RANK = {package: rank for rank, line in enumerate(LAYERS) for package in line}

# Third-party packages that only some places know.
ONLY_IN = {
    "typer": {"cli"},
    "rich": {"cli"},
    "textual_image": {"cli"},
    "PIL": {"imaging"},
    "pyarrow": {"imaging"},
    "safetensors": {"models", "training"},
    "huggingface_hub": {"registry"},
    "jinja2": {"comparison"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "diffusers": {"networks"},
    "transformers": {"models", "metrics"},
    "torchmetrics": {"metrics"},
    "torch_fidelity": {"metrics"},
    "torchvision": {"metrics"},
    "accelerate": {"training"},
    "peft": {"training"},
    "tokenizers": {"models"},
}


@cache
def tree(file: Path) -> ast.Module:
    """A file, parsed once for all tests."""
    return ast.parse(file.read_text())


def imports(file: Path) -> set[str]:
    """Every module that a file names in an import, also inside functions."""
    found = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# What one module does for all others: a call, and the only places for it.
ONE_PLACE = {
    "json.loads": {"foundation/documents.py"},
    "json.load": {"foundation/documents.py"},
    "tomllib.loads": {"foundation/documents.py"},
    "tomllib.load": {"foundation/documents.py"},
    "csv.reader": {"foundation/documents.py"},
    "csv.DictReader": {"foundation/documents.py"},
    "hashlib.sha1": {"foundation/hashing.py"},
    "hashlib.sha256": {"foundation/hashing.py"},
    "hashlib.file_digest": {"foundation/hashing.py"},
    "tempfile.mkstemp": {"foundation/files.py"},
    "tempfile.NamedTemporaryFile": {"foundation/files.py"},
    "os.replace": {"foundation/files.py"},
    "torch.cuda.is_available": {"foundation/devices.py"},
    "sys.stdout.write": {"cli/terminal.py", "cli/generate.py"},
    "sys.stderr.write": {"cli/terminal.py"},
}


def test_files_digests_and_devices_have_one_module_each():
    for file in FILES:
        own = file.relative_to(ROOT).as_posix()
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert own in ONE_PLACE.get(name, {own}), f"{name} in {own}, line {node.lineno}"


def test_no_file_is_longer_than_its_limit():
    for files, limit in ((FILES, LONGEST), ((ROOT.parent / "tests").rglob("*.py"), LONGEST_TESTS)):
        assert [str(file) for file in files if len(file.read_text().splitlines()) > limit] == []


def test_the_manual_names_the_layers():
    """The table of the page `architecture` has the layers of this test, in their order."""
    page = (ROOT / "manual" / "architecture.md").read_text()
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    assert [set(re.findall(r"`(\w+)/`", row)) for row in rows] == LAYERS


def package_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def test_layers():
    for file in FILES:
        own = package_of(file)
        if own in ("__init__", "__main__"):
            continue
        for name in imports(file):
            parts = name.split(".")
            if parts[0] == "ddbm_cli" and len(parts) > 1 and parts[1] in RANK and parts[1] != own:
                assert RANK[parts[1]] > RANK[own], f"{file}: {own} may not import {name}"
            if parts[0] in ONLY_IN:
                assert own in ONLY_IN[parts[0]], f"{file}: {parts[0]} belongs to {ONLY_IN[parts[0]]}"


def module_of(file: Path) -> str:
    """The name of a file's module: "ddbm_cli.paths" for paths/__init__.py."""
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imported(file: Path) -> set[str]:
    """The modules of this package that a file imports, also inside functions; not those for type checkers alone."""
    only_types = {
        inner
        for node in ast.walk(tree(file))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree(file)):
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return (found & MODULES.keys()) - {module_of(file)}


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan's algorithm)."""
    graph = {name: sorted(imported(file)) for name, file in MODULES.items()}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            groups.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return [group for group in groups if len(group) > 1]


def test_no_modules_import_each_other():
    """Counting imports inside functions; a package's __init__ counts as the modules that it collects."""
    assert circles() == []


def test_every_file_has_a_docstring():
    assert [str(file) for file in FILES if not ast.get_docstring(tree(file))] == []


def undocumented(module: object) -> list[str]:
    """Public functions, classes and methods of a module without a docstring, their own or that of a base class."""
    own = [each for name, each in vars(module).items() if not name.startswith("_")]
    found = [each for each in own if getattr(each, "__module__", None) == getattr(module, "__name__", None)]
    missing = [each.__name__ for each in found if inspect.isfunction(each) and not inspect.getdoc(each)]
    for kind in (each for each in found if inspect.isclass(each)):
        if not kind.__doc__:
            missing.append(kind.__name__)
        if getattr(kind, "_is_protocol", False):
            continue  # the classes that fit it document their members
        for name, member in vars(kind).items():
            callables = (FunctionType, property, cached_property, staticmethod, classmethod)
            if isinstance(member, callables) and not name.startswith("_") and not inspect.getdoc(getattr(kind, name)):
                missing.append(f"{kind.__name__}.{name}")
    return missing


def test_every_public_name_is_documented():
    modules = [importlib.import_module(name) for name in MODULES if not name.endswith("__main__")]
    assert [(module.__name__, name) for module in modules for name in undocumented(module)] == []


@pytest.mark.parametrize("package", ["paths", "samplers", "denoisers", "objectives"])
def test_no_setting_is_left_out_of_its_registry(package):
    """A class with a name is one that users can choose; it must be in a registry of the package."""
    module = importlib.import_module(f"ddbm_cli.{package}")
    registries = [value for name, value in vars(module).items() if name.isupper() and isinstance(value, dict)]
    registered = {each for registry in registries for each in registry.values()}
    for file in (ROOT / package).glob("*.py"):
        inner = importlib.import_module(f"ddbm_cli.{package}.{file.stem}")
        for value in vars(inner).values():
            if (
                isinstance(value, type)
                and value.__module__ == inner.__name__
                and isinstance(value.__dict__.get("name"), str)
            ):
                assert value in registered, f"{value.__name__} is in no registry"


HELP = ("", "translate", "sample", "train", "compare", "tune", "data edges", "data instruct", "evaluate", "draw")
LIGHT = [*(f"{name} --help" for name in HELP), "--version", "weights list", "weights info edges2handbags-vp-64"]


def test_help_imports_nothing_heavy():
    """All in one process, where what a command has imported stays."""
    script = (
        "import sys\n"
        "from ddbm_cli.cli.main import main\n"
        f"for command in {LIGHT}:\n"
        "    sys.argv = ['ddbm', *command.split()]\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert not stop.code, stop.code\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'safetensors', 'huggingface_hub', 'pydantic', 'secrets'}\n"
        "    heavy &= set(sys.modules)\n"
        "    assert not heavy, (command, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
