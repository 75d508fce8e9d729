"""What can be checked of a comparison before any work, and before torch is imported."""

from pathlib import Path

from ddbm_cli.comparison.method import FAST, PERTURBED, SCALES, Method, parse_methods
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.methods import method_of
from ddbm_cli.options.compare import DEFAULT_METHODS, CompareRequest
from ddbm_cli.options.names import check_spec
from ddbm_cli.options.sweep import read_axes
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.registry.reference import fast_version

EXTENSIONS = (".html", ".json", ".csv", ".md", ".png")
"""The kinds of reports, by the extension of an output."""


def check(request: CompareRequest) -> list[Method]:
    """Return the methods of a request whose options are all usable.

    Raises:
        UsageError: an unknown method, sampler, grid or field, a value out of range, a missing input or target, or an
            output that cannot be a report.
    """
    direction = None if request.direction == CompareRequest.direction else request.direction
    sweep = read_axes(request.sweep, tuple(SCALES))
    methods = parse_methods(_specs(request), model=request.model, nfe=request.nfe, direction=direction, sweep=sweep)
    for method in methods:
        method_of(TranslateRequest(source="", **method.options()))
        if method.sampler is not None:
            check_spec("samplers", method.sampler)
        if method.grid is not None:
            check_spec("grids", method.grid)
        if (perturbation := method.field(PERTURBED)) is not None:
            check_spec("perturbations", perturbation)
    for output in request.outputs:
        if output.suffix.lower() not in EXTENSIONS:
            raise UsageError(f"{output}: unknown kind of report", hint=f"end the name with {', '.join(EXTENSIONS)}")
        if output.is_dir():
            raise UsageError(f"{output} is a folder", hint="choose another output with -o")
    if request.source == "-":
        raise UsageError("a comparison cannot read standard input", hint="pass a file or a folder")
    if request.source is not None and not _may_exist(request.source):
        raise UsageError(f"{request.source}: no such file or folder", hint="check the path")
    if request.targets is not None and not request.targets.exists():
        raise UsageError(f"{request.targets}: no such file or folder", hint="pass the folder with the targets")
    if request.prompts is not None and not request.prompts.exists():
        raise UsageError(f"{request.prompts}: no such file or folder", hint="pass the file with the prompts")
    if request.nfe is not None and request.seconds is not None:
        raise UsageError("--nfe and --seconds are mutually exclusive", hint="pass one of them")
    return methods


def _specs(request: CompareRequest) -> tuple[str, ...]:
    """Return the methods to compare; where none are given, those that the model has, with prompts its own settings."""
    if request.methods != DEFAULT_METHODS:
        return request.methods
    if request.prompt or request.prompts or request.sweep:
        return ("default",)
    return tuple(spec for spec in request.methods if spec != FAST or _has_fast_version(request.model))


def _has_fast_version(model: str | None) -> bool:
    try:
        return fast_version(model) != model
    except ModelError:
        return False


def _may_exist(source: str) -> bool:
    return any(sign in source for sign in "*?[") or Path(source).exists()
