"""References to models: the only module that parses the value of -m.

    sketch-to-3d-64                          a name of the registry
    org/repo    org/repo@rev:file            a repository on the hub; without a file, its main or only .safetensors file
    hf://org/repo@rev/folder/file            the same, as the hub's own tools write it
    runs/mine/    model.safetensors          a local folder or file

A registry name has precedence over a local path, and a local path over the hub. `./name` is always a local path.
A path whose first folder exists is a local path as well, so that a misspelt one needs no network.
"""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.entries import Registry, read_registry
from ddbm_cli.registry.entry import BUILTIN, COMMIT, MAIN, REPO, Entry, HubFile

SUFFIX = ".safetensors"
FOREIGN = (".pt", ".pth", ".ckpt", ".bin")
"""Files of weights that have no card, and are pickles."""

INDEX = ".safetensors.index.json"
"""End of the name of the index of weights that are split into shards."""

RUNS = "runs"
"""The folder of training runs, which is never an owner on the hub."""

MAIN_FILE = "model.safetensors"


@dataclass(frozen=True)
class HubRepo:
    """A repository on the hub, without the name of its model file."""

    repo: str
    revision: str = MAIN

    def __str__(self) -> str:
        return f"{self.repo}{'' if self.revision == MAIN else f'@{self.revision}'}"


Reference = Entry | HubFile | HubRepo | Path

_SHORT = rf"(?P<repo>{REPO})(@(?P<revision>[^:\s]+))?(:(?P<file>\S.*))?"
_HF = rf"hf://(?P<repo>{REPO})(@(?P<revision>[^/\s]+))?(/(?P<file>\S.*))?"


def parse(text: str) -> Reference:
    """Return what a reference stands for: an entry, a file or repository on the hub, or a local path that exists.

    A folder is returned as its model file, or as it is if it holds a model in diffusers' layout.

    Raises:
        ModelError: there is no such model: an unknown name, a missing file, a folder without a model.
        UsageError: the registry named by DDBM_WEIGHTS cannot be read.
    """
    if not text.startswith("hf://"):
        registry = read_registry()
        if text in registry:
            return registry[text]
        local = _local(text)
        if local is not None:
            return model_in(local) if local.is_dir() else local
        if _looks_local(text):
            raise _no_such_path(text)
        if "/" not in text:
            raise unknown(text, registry)
    match = re.fullmatch(_HF if text.startswith("hf://") else _SHORT, text)
    if not match:
        raise ModelError(
            f"'{text}' is neither a local file nor a repository on the hub",
            hint="write org/repo, org/repo@revision:file or a path",
        )
    return _on_hub(match["repo"], match["revision"] or MAIN, match["file"])


def unknown(name: str, registry: Registry) -> ModelError:
    """Return the error for a name that is not in the registry, or whose table was skipped."""
    problem = registry.problem_of(name)
    if problem:
        return ModelError(problem.message, hint=problem.hint)
    near = difflib.get_close_matches(name, registry, n=3, cutoff=0.5)
    words = f"did you mean {' or '.join(near)}? " if near else ""
    whole = registry.problem_of("")
    skipped = f"{whole.message}. " if whole else ""
    return ModelError(f"no model '{name}'", hint=f"{skipped}{words}list all names: ddbm weights list")


def not_here(name: str) -> ModelError:
    """Return the error for a model that is not downloaded."""
    return ModelError(f"model '{name}' is not downloaded", hint=f"run: ddbm weights pull {name}")


def short_name(reference: str) -> str:
    """Return a reference to a model without its folders; for the file of a run, the name of the run."""
    path = Path(reference)
    return path.absolute().parent.name if path.name == MAIN_FILE else path.name


def fast_version(name: str | None) -> str:
    """Return the name of the model of few evaluations that was distilled from a model; of such a one, its own.

    Args:
        name: a reference as a user writes it; None is the default model.

    Raises:
        ModelError: the registry names none.
        UsageError: the registry named by DDBM_WEIGHTS cannot be read.
    """
    registry = read_registry()
    asked = BUILTIN.stem if name is None else name
    if asked in registry and registry[asked].fast:
        return registry[asked].fast
    if any(entry.fast == asked for entry in registry.values()):
        return asked
    raise ModelError(
        f"model '{asked}' has no version for --fast",
        hint=f"leave out --fast, or train one: ddbm train PAIRS --task distill --teacher {asked}",
    )


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, which never changes."""
    return re.fullmatch(COMMIT, revision) is not None


def is_layout(folder: Path) -> bool:
    """Return whether a folder holds a model in diffusers' layout."""
    return (folder / "unet" / "config.json").is_file()


def model_in(folder: Path) -> Path:
    """Return the model file of a folder: model.safetensors, or the only .safetensors file.

    A folder in diffusers' layout is returned as it is.

    Raises:
        ModelError: there is no model file, or more than one.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: not readable ({error.strerror})", hint="check its permissions") from None
    if MAIN_FILE not in names and is_layout(folder):
        return folder
    return folder / pick(names, where=str(folder))


def pick(names: list[str], *, where: str) -> str:
    """Return the model file among others: model.safetensors, or the only .safetensors file.

    Raises:
        ModelError: there is no model file, or more than one.
    """
    models = [name for name in names if name.endswith(SUFFIX)]
    if MAIN_FILE in models:
        return MAIN_FILE
    if any(name.endswith(INDEX) for name in names):
        raise ModelError(
            f"{where}: the model is sharded into {len(models)} files, which are not read",
            hint="save it as one .safetensors file; with diffusers: save_pretrained(..., max_shard_size='100GB')",
        )
    if len(models) == 1:
        return models[0]
    if models:
        shown = ", ".join(models[:5]) + (" ..." if len(models) > 5 else "")
        raise ModelError(f"{where}: {len(models)} model files", hint=f"specify one of them: {shown}")
    foreign = [name for name in names if name.endswith(FOREIGN)]
    hint = f"{foreign[0]} has no card: ddbm weights import --help" if foreign else "specify a folder with a model file"
    raise ModelError(f"{where}: no {SUFFIX} file", hint=hint)


def _on_hub(repo: str, revision: str, file: str | None) -> Reference:
    if file is None:
        return HubRepo(repo, revision)
    for entry in read_registry().values():
        if (entry.repo, entry.file, entry.revision) == (repo, file, revision):
            return entry
    return HubFile(repo, file, revision, fixed=is_commit(revision))


def _local(text: str) -> Path | None:
    """Return the path of a reference, if there is such a file or folder."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, no home
        return None


def _looks_local(text: str) -> bool:
    if text.startswith((".", "/", "~")) or "\\" in text or text.endswith("/"):
        return True
    if ":" not in text and text.endswith((SUFFIX, *FOREIGN)):
        return True
    first, slash, _ = text.partition("/")
    return bool(slash) and (first == RUNS or _local(first) is not None or os.path.lexists(first))


def _no_such_path(text: str) -> ModelError:
    folder = _local(str(Path(text).parent))
    try:
        names = [path.name for path in folder.iterdir()] if folder else []
    except OSError:
        names = []
    near = difflib.get_close_matches(Path(text).name, names, n=1, cutoff=0.6)
    words = f"did you mean {Path(text).parent / near[0]}? " if near else "check the path. "
    hub = (
        f"For a repository on the hub: hf://{text}" if re.fullmatch(REPO, text) else "List all names: ddbm weights list"
    )
    return ModelError(f"{text}: no such model file or folder", hint=f"{words}{hub}")
