"""How a model is named: the one place that reads what a user writes after -m.

    sketch-to-3d-64                          a name of the registry
    org/repo    org/repo@rev:file            a repository on the hub, its only or main .safetensors file if none is said
    hf://org/repo@rev/folder/file            the same, as the hub's own tools write it
    runs/mine/    model.safetensors          a folder or a file here

What lies on the disk comes before the hub, a registry name before both; `./name` is always the disk.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.entries import COMMIT, MAIN, REPO, Entry, HubFile, read_registry

SUFFIX = ".safetensors"
FOREIGN = (".pt", ".pth", ".ckpt", ".bin")
"""Files of weights that have no card, and are pickles."""

MAIN_FILE = "model.safetensors"


@dataclass(frozen=True)
class HubRepo:
    """A repository on the hub whose model file is not said."""

    repo: str
    revision: str = MAIN

    def __str__(self) -> str:
        return f"{self.repo}{'' if self.revision == MAIN else f'@{self.revision}'}"


Reference = Entry | HubFile | HubRepo | Path

_SHORT = rf"(?P<repo>{REPO})(@(?P<revision>[^:\s]+))?(:(?P<file>\S.*))?"
_HF = rf"hf://(?P<repo>{REPO})(@(?P<revision>[^/\s]+))?(/(?P<file>\S.*))?"


def parse(text: str) -> Reference:
    """Return what a reference names: an entry, a file or repository of the hub, or a file here, which exists.

    Raises:
        ModelError: it names nothing: an unknown name, a missing file, a folder without a model.
        UsageError: a registry file is not readable.
    """
    if not text.startswith("hf://"):
        entries = read_registry()
        if text in entries:
            return entries[text]
        local = Path(text).expanduser()
        if text and local.is_dir():
            return model_in(local)
        if text and local.exists():
            return local
        if _looks_local(text):
            raise ModelError(f"{text}: no such model file", hint="check the path, or see: ddbm weights list")
        if "/" not in text:
            raise _unknown(text, entries)
    match = re.fullmatch(_HF if text.startswith("hf://") else _SHORT, text)
    if not match:
        raise ModelError(
            f"'{text}' is no file here, and no name on the hub",
            hint="write org/repo, org/repo@revision:file or a path",
        )
    return _on_hub(match["repo"], match["revision"] or MAIN, match["file"])


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, which never changes."""
    return re.fullmatch(COMMIT, revision) is not None


def model_in(folder: Path) -> Path:
    """Return the model file of a folder: model.safetensors, or the only .safetensors file.

    Raises:
        ModelError: there is none, or there are several.
    """
    return folder / pick([path.name for path in sorted(folder.glob(f"*{SUFFIX}"))], where=str(folder))


def pick(names: list[str], *, where: str) -> str:
    """Return the model file among others: model.safetensors, or the only .safetensors file.

    Raises:
        ModelError: there is none, or there are several.
    """
    models = [name for name in names if name.endswith(SUFFIX)]
    if MAIN_FILE in models:
        return MAIN_FILE
    if len(models) == 1:
        return models[0]
    if models:
        shown = ", ".join(models[:5]) + (" ..." if len(models) > 5 else "")
        raise ModelError(f"{where}: {len(models)} model files", hint=f"name one of them: {shown}")
    foreign = [name for name in names if name.endswith(FOREIGN)]
    hint = f"{foreign[0]} has no card: ddbm weights import --help" if foreign else "name another place, or a file in it"
    raise ModelError(f"{where}: no {SUFFIX} file", hint=hint)


def _on_hub(repo: str, revision: str, file: str | None) -> Reference:
    if file is None:
        return HubRepo(repo, revision)
    for entry in read_registry().values():
        if (entry.repo, entry.file, entry.revision) == (repo, file, revision):
            return entry
    return HubFile(repo, file, revision, fixed=is_commit(revision))


def _looks_local(text: str) -> bool:
    return text.startswith((".", "/", "~")) or "\\" in text or (":" not in text and text.endswith((SUFFIX, *FOREIGN)))


def _unknown(name: str, entries: dict[str, Entry]) -> ModelError:
    near = difflib.get_close_matches(name, entries, n=3, cutoff=0.5)
    words = f"did you mean {' or '.join(near)}? " if near else ""
    return ModelError(f"no model '{name}'", hint=f"{words}All names: ddbm weights list")
