"""Checks of arguments that need no model: they run before torch is imported, so that a mistake is answered at once.

Each calls what the task itself calls later, where that does without torch. Names, ranges and mutually exclusive options
are checked by `options.check` before.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ModelError, UsageError

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
GUIDES = ("blur", "colour")


def translate(request: Any, *, watch: bool = False) -> None:
    """Check the method's options, input, output, model and device of a translation."""
    from ddbm_cli.imaging.files import plan_jobs
    from ddbm_cli.imaging.naming import Naming
    from ddbm_cli.imaging.selection import Selection
    from ddbm_cli.methods import method_of
    from ddbm_cli.options.prepare import read_prepare

    device(request.device)
    if watch:
        watched(request.source)
    read_prepare(request.prepare)
    method = method_of(request)
    plan = plan_jobs(
        request.source,
        request.output,
        recursive=request.recursive,
        format=request.format,
        to_folder=request.to_folder,
        naming=Naming(request.name, request.flatten, range(request.start, request.start + request.number)),
        selection=Selection(request.include, request.exclude, request.limit),
        may_be_empty=watch,
    )
    writable(plan.folder)
    if request.guide:
        guide = request.guide.partition(":")[0]
        if guide not in GUIDES:
            raise UsageError(f"--guide {guide}: unknown value", hint=f"choose one of: {', '.join(GUIDES)}")
    if request.mask:
        exists(request.mask, what="mask")
    files = (("--to", request.to), ("--colours-from", request.colours_from), ("--prompts", request.prompts))
    for option, path in files:
        if path is not None:
            exists(path, what=option)
    model(method.reference(request))
    model(request.source_model)


def watched(source: str) -> None:
    """Check that a folder can be watched.

    Raises:
        UsageError: it is no folder, or watchdog is not installed.
    """
    if not Path(source).is_dir():
        raise UsageError(f"{source}: --watch needs a folder", hint="pass the folder in which images arrive")
    if importlib.util.find_spec("watchdog") is None:
        raise UsageError("--watch needs watchdog", hint="pip install 'ddbm-cli[watch]'")


def sample(request: Any) -> None:
    """Check the sources, the model and the device of samples."""
    device(request.device)
    if request.source is not None:
        source(request.source, recursive=request.recursive)
    if request.encode:
        exists(request.encode, what="--encode")
    for name, suffix in (("sheet", ".png"), ("npz", ".npz")):
        file = getattr(request, name)
        if file and file.suffix.lower() != suffix:
            raise UsageError(f"--{name} {file}: the name must end in {suffix}", hint=f"pass {file.with_suffix(suffix)}")
    writable(request.output)
    model(request.model)


def train(given: dict[str, Any], *, config: Path | None, resume: Path | None) -> None:
    """Check folders, files of settings, and the model to begin with, of a training."""
    from ddbm_cli.foundation.documents import read_json, read_toml
    from ddbm_cli.foundation.fields import declared
    from ddbm_cli.options.check import check, from_options
    from ddbm_cli.options.checkpoints import divided
    from ddbm_cli.options.expects import read_expects
    from ddbm_cli.options.lora import check_lora
    from ddbm_cli.options.names import suggest
    from ddbm_cli.options.recipe import Recipe
    from ddbm_cli.options.train import TrainRequest

    body: dict[str, Any] = {}
    if resume is not None and resume != Path("latest"):
        hint = "pass the folder of a run, the -o of its ddbm train"
        if not resume.exists():
            missing(resume, hint=hint)
        resume, _ = divided(resume)
        body |= read_json(resume / "config.json", hint=hint)
    if config is not None:
        settings = read_toml(config, hint="pass a TOML file of settings")
        flat = sorted(set(settings) & set(declared(Recipe)) - set(declared(TrainRequest)))
        if flat:
            raise UsageError(
                f"{config}: '{flat[0]}' is a setting of the recipe", hint=f"write it under [recipe]: {flat[0]} = ..."
            )
        unknown = sorted(set(settings) - {name.partition(".")[0] for name in declared(TrainRequest)})
        if unknown:
            hint = f"{suggest(unknown[0], declared(TrainRequest))}see ddbm train --help"
            raise UsageError(f"{config}: unknown setting '{unknown[0]}'", hint=hint)
        check(TrainRequest, settings)
        body |= settings
    data = given.get("data") or body.get("data")
    if not data and resume is None:
        raise UsageError("no data to train on", hint="pass a folder of pairs: ddbm train DATA")
    from_options(TrainRequest, {"data": ("",)} | given, command="train")
    for folder in data if isinstance(data, list | tuple) else ():
        exists(Path(folder), what="data")
    device(str(given.get("device", "auto")))
    model(given.get("start_from"))
    check_lora(body | given, begins=resume is None)
    if given.get("expects"):
        read_expects(str(given["expects"]))


def compare(request: Any) -> None:
    """Check the inputs, the models and the device of a comparison, whose options `comparison.request` checks."""
    device(request.device)
    if request.source is not None:
        source(request.source, recursive=request.recursive)
    model(request.model)


def instruct(request: Any) -> None:
    """Check images or captions, the options that go with them, model, output and device of pairs with instructions."""
    from ddbm_cli.options.captions import check_instruct

    exists(request.pictures, what="images, or captions")
    check_instruct(request)
    device(request.device)
    model(request.model)
    writable(request.output)


def draw(options: Any) -> None:
    """Check the libraries of the server, its models and their device."""
    from ddbm_cli.serve.sockets import check_installed

    check_installed()
    device(options.device)
    for reference in options.models:
        model(reference)


def evaluate(request: Any) -> None:
    """Check the folders, the model and the device of an evaluation."""
    device(request.device)
    for path in (request.outputs, request.targets, request.sketches, *request.draws):
        if path is not None:
            exists(path, what="images")
    model(request.prior)
    model(request.cycle)
    if request.cycle and request.sketches is None:
        raise UsageError("--cycle needs the sources of the outputs", hint="add --sketches FOLDER")
    if request.direction != type(request).direction and not request.cycle:
        raise UsageError("--direction is for --cycle", hint="add --cycle MODEL, or remove --direction")


def tune(request: Any) -> None:
    """Check budgets, data, model, output and device of a tuning."""
    from ddbm_cli.options.tune import MOST_BUDGETS

    device(request.device)
    if not request.nfe:
        raise UsageError("no budget is given", hint="pass --nfe 4,6,10")
    for nfe in request.nfe:
        if not 2 <= nfe <= 10_000:
            raise UsageError(f"--nfe {nfe}: a budget must be from 2 to 10000", hint="pass --nfe 4,6,10")
    if len(set(request.nfe)) > MOST_BUDGETS:
        raise UsageError(f"{len(set(request.nfe))} budgets are too many", hint=f"pass at most {MOST_BUDGETS}")
    for folder in request.data:
        exists(folder, what="data")
    model(request.model)
    if request.output is not None and request.output.suffix != ".safetensors":
        name = request.output.with_suffix(".safetensors")
        raise UsageError(f"-o {request.output}: the name must end in .safetensors", hint=f"pass -o {name}")


def model(reference: str | None) -> None:
    """Check that a model reference names a registry entry, a local file or folder, or a possible repository.

    Raises:
        ModelError: it does not.
    """
    from ddbm_cli.registry import parse
    from ddbm_cli.registry.pipelines import is_pipeline

    if reference is not None and not is_pipeline(reference):
        parse(reference)


def device(name: str) -> None:
    """Check that a device has a name of torch.

    Raises:
        UsageError: it has not.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES or not re.fullmatch(r"[a-z]+(:\d+)?", name):
        raise UsageError(f"unknown device '{name}'", hint=f"choose one of: {', '.join(DEVICES)}, or such as cuda:1")


def source(path: str, *, recursive: bool) -> None:
    """Check that there are images to read.

    Raises:
        UsageError: there are none.
    """
    from ddbm_cli.imaging.files import plan_jobs

    plan_jobs(path, None, recursive=recursive)


def exists(path: Path, *, what: str) -> None:
    """Check that a file or folder exists.

    Raises:
        UsageError: it does not.
    """
    try:
        found = path.expanduser().exists()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path}: not readable ({error})", hint="check the path") from None
    if not found:
        raise UsageError(f"{path}: no such file or folder ({what})", hint="check the path")


def missing(path: Path, *, hint: str) -> dict[str, Any]:
    """Raise the error for a path that does not exist."""
    raise UsageError(f"{path}: no such file or folder", hint=hint)


def free(output: Path, *, overwrite: bool) -> None:
    """Check that an output does not exist, unless it may be replaced.

    Raises:
        UsageError: it exists.
    """
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already", hint="choose another output, or pass --overwrite")


def file(path: Path) -> None:
    """Check that a model file or folder exists.

    Raises:
        ModelError: it does not.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder", hint="check the path")


def entry(name: str) -> None:
    """Check that a model is in the registry.

    Raises:
        UsageError: it is not.
    """
    from ddbm_cli.options.names import suggest
    from ddbm_cli.registry import read_registry

    known = read_registry()
    if name not in known:
        raise UsageError(f"no model '{name}' in the registry", hint=f"{suggest(name, known)}See: ddbm weights list")


def shown(path: Path, *, command: bool) -> None:
    """Check the file that `ddbm show` shows.

    Raises:
        ModelError: it does not exist, and is no other model reference.
        UsageError: a command is wanted of a model.
    """
    from ddbm_cli.imaging.io import format_of

    if not path.exists():
        model(str(path))
    if command and not format_of(path):
        raise UsageError(f"{path}: --command is for images", hint=f"print its card: ddbm show {path}")


def made(path: Path) -> None:
    """Check that a file is an image with a record of how it was made.

    Raises:
        UsageError: it does not exist, or holds no text.
    """
    from ddbm_cli.imaging.io import format_of, read_text

    exists(path, what="--from")
    if not format_of(path) or "ddbm" not in read_text(path):
        hint = "pass an image that ddbm translate made, without --metadata none"
        raise UsageError(f"{path}: holds no record of how it was made", hint=hint)


def writable(folder: Path) -> None:
    """Check that a folder, which need not exist, can be one.

    Raises:
        UsageError: a part of its path is a file.
    """
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"{folder}: cannot be written ({there} is a file)", hint="choose another output")
