"""Options are declared once: help, checks and signatures follow from the declarations."""

import dataclasses
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer

import ddbm_cli.options
from ddbm_cli.cli import main as main_module
from ddbm_cli.cli.signature import words
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field, declared
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.check import from_options, read

FOLDER = Path(ddbm_cli.options.__file__).parent
MODULES = [import_module(f"ddbm_cli.options.{file.stem}") for file in FOLDER.glob("*.py") if file.stem != "__init__"]
CLASSES = sorted(
    {
        each
        for module in MODULES
        for each in vars(module).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each) and each.__module__ == module.__name__
    },
    key=lambda each: each.__name__,
)
OPTIONS = [(kind.__name__, option) for kind in CLASSES for option in declared(kind).values()]


@pytest.mark.parametrize(("kind", "option"), OPTIONS, ids=lambda each: getattr(each, "name", each))
def test_every_option_has_a_description_and_names_its_default(kind, option):
    text = option.field.description
    assert re.fullmatch(r"[A-Z-].*[.]", text) or re.fullmatch(r"[A-Z].*\.\.\.", text), text
    shown = words(option)
    if option.default not in (None, "", (), False, True):
        assert "[default: " in shown
    if option.field.range:
        assert f"[range: {option.field.range}]" in shown
    for choice in option.choices:
        assert re.search(rf"\[choices: [^]]*\b{re.escape(choice)}\b", shown)
    assert option.default is not None or option.required or option.field.unset, "a default of None needs words"


@settings
class Inner:
    rate: Annotated[float, Field("Rate.", gt=0, lt=1)] = 0.5


@settings
class Asked:
    count: Annotated[int | None, Field("Count.", ge=1, le=9, unset="auto", excludes=("time",))] = None
    time: Annotated[float | None, Field("Time.", unset="none")] = None
    kinds: Annotated[tuple[Literal["flip", "shift"], ...], Field("Kinds.", none="none")] = ("flip",)
    sampler: Annotated[str | None, Field("Sampler.", names="samplers", unset="none")] = None
    inner: Inner = dataclasses.field(default_factory=Inner)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"count": "0"}, "--count must be at least 1, not 0", "ddbm try --help"),
        ({"count": "10"}, "--count must be at most 9, not 10", "ddbm try --help"),
        ({"count": "many"}, "--count must be a whole number, not 'many'", "ddbm try --help"),
        ({"count": "1", "time": "2"}, "--count and --time are mutually exclusive|--time and --count", "pass one"),
        ({"kinds": ("flop",)}, "--kinds flop: unknown value", "did you mean 'flip'"),
        ({"kinds": ("flip", "rotate")}, "--kinds rotate: unknown value", "flip, shift, none"),
        ({"sampler": "heum"}, "unknown sampler 'heum'", "did you mean 'heun'"),
        ({"sampler": "heun:chrun=1"}, "sampler 'heun' has no field 'chrun'", "did you mean 'churn'"),
        ({"sampler": "heun:churn=7"}, "churn = '7' does not fit", "at most 1"),
        ({"sampler": "dbim:eta=nan"}, "eta = 'nan' does not fit", "at least 0"),
        ({"sampler": "dbim-2:order=2.5"}, "order = '2.5' does not fit", "whole number"),
        ({"sampler": "heun:churn"}, "cannot read 'churn'", "field=value"),
        ({"inner": {"rate": "1"}}, "--rate must be below 1, not 1", "ddbm try --help"),
        ({"inner": {"rat": "1"}}, "unknown setting 'inner.rat'", "did you mean 'rate'"),
        ({"conut": "1"}, "unknown setting 'conut'", "did you mean 'count'"),
        ({"time": "inf"}, "--time inf: input should be a finite number", "ddbm try --help"),
    ],
)
def test_a_wrong_value_is_explained_as_its_option(given, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        from_options(Asked, given, command="try")
    assert hint in caught.value.hint and caught.value.exit_code == 2


def test_a_right_value_becomes_its_type():
    asked = from_options(Asked, {"count": "3", "kinds": ("shift",), "inner": {"rate": "0.25"}}, command="try")
    assert asked == Asked(count=3, kinds=("shift",), inner=Inner(rate=0.25))
    options = declared(Asked)
    assert read(options["count"], "auto") is None and read(options["time"], "none") == "none"
    assert read(options["count"], "3") == 3 and read(options["count"], "x") == "x"
    assert read(options["kinds"], "shift, flip,shift") == ("shift", "flip") and read(options["kinds"], "none") == ()


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(commands(typer.main.get_command(main_module.build())))


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda each: " ".join(each) if type(each) is tuple else "")
def test_no_spelling_is_taken_twice(path, command):
    spellings = [opt for parameter in command.params if parameter.param_type_name == "option" for opt in parameter.opts]
    assert len(spellings) == len(set(spellings))


def test_the_list_of_commands_has_the_first_lines_of_their_help():
    app = typer.main.get_command(main_module.build())
    for name, summary in {**main_module.COMMANDS, **main_module.GROUPS}.items():
        assert app.commands[name].help.partition("\n")[0] == summary


def test_declarations_import_neither_torch_nor_pydantic():
    modules = ", ".join(module.__name__ for module in MODULES)
    script = f"import sys, {modules}\nassert not {{'torch', 'pydantic', 'numpy', 'typer'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_errors_about_arguments_come_before_torch():
    """All in one process, where what a command has imported stays."""
    wrong = [
        ["translate", "in.png", "--sampler", "hoin"],
        ["translate", "in.png", "--nfe", "3", "--num_inference_steps", "3"],
        ["sample", "-o", "out", "--grid", "nonsense"],
        ["train", "pairs", "--augment", "flop"],
        ["train", "pairs", "--path", "vp-brigde"],
        ["evaluate", "out", "truth", "--metrics", "mes"],
        ["compare", "--nfe", "5", "--seconds", "1"],
        ["data", "edges", "a", "b", "--style", "inc"],
        ["weights", "export", "a", "b", "--format", "onnx"],
    ]
    script = (
        "import sys\nfrom ddbm_cli.cli.main import main\n"
        f"for words in {wrong}:\n"
        "    sys.argv = ['ddbm', *words]\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert stop.code == 2, (words, stop.code)\n"
        "    assert 'torch' not in sys.modules, words"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and len(lines) == 2 * len(wrong), done.stderr
    assert all(line.startswith("Error:") for line in lines[::2]), lines


@pytest.mark.parametrize("spelling", ["--num_inference_steps", "--num-inference-steps", "--steps"])
def test_spellings_of_diffusers_are_accepted(spelling):
    from ddbm_cli.cli.signature import _given
    from ddbm_cli.options.translate import TranslateCommand

    (command,) = (each for path, each in COMMANDS if path == ("translate",))
    context = command.make_context(
        "translate", ["in.png", spelling, "4"], token_normalize_func=lambda text: text.replace("_", "-")
    )
    assert _given(TranslateCommand, context.params) == {"source": "in.png", "steps": 4}
