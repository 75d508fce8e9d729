"""A run's folder: which one a training gets, its lock, and what is stored of its request."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import filelock

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.files import remove_leftovers, write_text
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import adapter, build, describe
from ddbm_cli.imaging.pairs import PairSplit
from ddbm_cli.imaging.stored import length_of
from ddbm_cli.options.checkpoints import FOLDER
from ddbm_cli.options.recipe import AUTO
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.request import SETTINGS, from_stored
from ddbm_cli.tasks.train.stored import CONFIG, IMAGES, read_stored

DEFAULT = Path("runs/train")
LOOSE = (
    *("output", "resume", "check", "cache_memory", "cache_disk", "hours", "device", "separate", "tracker"),
    *("recipe", "data", "sampling", "compute"),
)
"""Fields that a resumed run may change, and with them"""

CARD = ("expects", "name", "translates", "licence", "data_note", "limits")
"""texts of the model card."""

FIXED = ("batch_size", "seed", "precision")
"""Fields of the recipe that a resumed run may not change."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run; `tasks.train` lists its files."""

    path: Path

    @property
    def config(self) -> Path:
        """The file of all settings."""
        return self.path / CONFIG

    @property
    def state(self) -> Path:
        """The checkpoint."""
        return self.path / "state.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of earlier checkpoints, of runs that keep several."""
        return self.path / FOLDER

    @property
    def model(self) -> Path:
        """The model with averaged weights."""
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        """The model with the lowest validation loss."""
        return self.path / "best.safetensors"

    @property
    def latents(self) -> Path:
        """The folder of latents that later steps use again."""
        return self.path / "latents"

    @property
    def results(self) -> Path:
        """The table of validations."""
        return self.path / "results.csv"

    @property
    def metrics(self) -> Path:
        """The table of losses."""
        return self.path / "metrics.csv"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def sheet(self, step: int) -> Path:
        """Return the sheet of samples of a step."""
        return self.samples / sheet_name(step)

    @property
    def samples(self) -> Path:
        """The folder of results for held-out pairs."""
        return self.path / "samples"

    def is_empty(self) -> bool:
        """Whether nothing was trained here: there are no files of a run but its request."""
        files = (self.state, self.model, self.best, self.results, self.samples, self.checkpoints)
        return not any(file.exists() for file in files)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder, which is created; a killed process releases it.

        Raises:
            DdbmError: another training holds it, or the folder cannot be written.
        """
        lock = filelock.FileLock(self.path / ".ddbm-lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise DdbmError(
                f"{self.path} is in use by another training",
                hint="wait until it ends, or choose another folder with -o",
            ) from None
        except NotImplementedError:
            yield  # a file system without locks
            return
        except OSError as error:
            raise DdbmError(
                f"{self.path}: cannot be written: {error.strerror or error}", hint="choose another folder with -o"
            ) from None
        try:
            for folder in (self.path, self.samples, self.checkpoints):
                remove_leftovers(folder)
            yield
        finally:
            lock.release()


def sheet_name(step: int) -> str:
    """Return the name of the sheet of samples of a step."""
    return f"step_{step:07d}.png"


def dump(request: TrainRequest) -> dict[str, Any]:
    """Return the JSON form of a request."""
    body: dict[str, Any] = adapter(TrainRequest).dump_python(request, mode="json")
    del body["resume"], body["check"], body["from_step"]
    return body


def write_config(folder: RunFolder, request: TrainRequest, images: Mapping[str, Any]) -> None:
    """Store a request, and what it is trained on."""
    write_text(folder.config, json.dumps({**dump(request), IMAGES: images}, indent=1) + "\n")


def images_of(pairs: PairSplit, splits: Mapping[str, str]) -> dict[str, Any]:
    """Return the digest and the numbers of the images of a run; `splits` are the filters of `models.seen`."""
    names = [
        [(pair.name, *(length_of(file) for file in (pair.source, pair.target) if file)) for pair in part]
        for part in (pairs.train, pairs.val)
    ]
    digest = sha256(json.dumps([names, dict(splits)], sort_keys=True).encode("utf-8", "surrogateescape"))
    return {"training": len(pairs.train), "held_out": len(pairs.val), "sha256": digest}


def place(request: TrainRequest, images: Mapping[str, Any]) -> tuple[RunFolder, str]:
    """Return the folder that a request gets, and what keeps it out of the first that it could have, "" for nothing.

    The folder of a run is given to the very same request again, which resumes it.

    Raises:
        UsageError: the folder that is given holds something else.
    """
    given = request.resume or request.output
    folder = RunFolder(given or DEFAULT)
    first = "" if request.resume else difference(folder, request, images)
    if not first:
        return folder, ""
    if given:
        raise UsageError(
            f"{given} holds {first}",
            hint=f"resume that run: ddbm train --resume {shlex.quote(str(given))}; or choose another folder with -o",
        )
    numbered = (RunFolder(DEFAULT.with_name(f"{DEFAULT.name}{number}")) for number in count(2))
    free = next(each for each in numbered if not difference(each, request, images))
    return free, f"{DEFAULT} holds {first}"


@contextmanager
def claimed(request: TrainRequest, images: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Hold the folder that a request gets, under its lock.

    Raises:
        DdbmError: another training holds it.
        UsageError: the folder that is given holds something else.
    """
    folder, _ = place(request, images)
    with folder.locked():
        if request.resume is None and difference(folder, request, images):
            raise DdbmError(f"{folder.path} was just taken by another training", hint="run the command again")
        yield folder


def difference(folder: RunFolder, request: TrainRequest, images: Mapping[str, Any]) -> str:
    """Return what keeps a new run out of a folder, in words; "" if it is free or holds the very same run."""
    if not folder.config.exists():
        if folder.is_empty() and (folder.path.is_dir() or not os.path.lexists(folder.path)):
            return ""
        return "files that are not of a run" if folder.path.is_dir() else "a file, not a folder"
    try:
        stored = read_stored(folder.path)
        before, now = _comparable(from_stored(stored, folder.path)), _comparable(request)
    except UsageError:
        return "a config.json that is not of a run"
    _take_batch_size(now, before)
    odd = [name for name in now if now[name] != before.get(name)]
    if odd and folder.is_empty():
        return ""  # nothing was trained here
    if odd:
        return f"a run with another {_spoken(odd[0])}"
    if stored.get(IMAGES, images) != images:
        return "a run with other images"
    return ""


def changes(folder: RunFolder, request: TrainRequest, images: Mapping[str, Any]) -> list[str]:
    """Return how a request differs from the stored one of a run that is resumed, in words.

    Raises:
        UsageError: something differs that a resumed run cannot change.
    """
    stored = read_stored(folder.path)
    before, now = _comparable(from_stored(stored, folder.path)), _comparable(request)
    _take_batch_size(now, before)
    odd = [name for name in now if name not in LOOSE + CARD and now[name] != before.get(name)]
    odd += [name for name in FIXED if now["recipe"][name] != before["recipe"][name]]
    if odd and not folder.is_empty():
        raise UsageError(
            f"{folder.path} holds a run with another {_spoken(odd[0])}",
            hint=f"leave out --{odd[0].replace('_', '-')}, or start a new run: ddbm train DATA -o NEW",
        )
    words = [
        f"{_spoken(name)} {before['recipe'][name]} -> {value}"
        for name, value in now["recipe"].items()
        if value != before["recipe"][name]
    ]
    if stored.get(IMAGES, images) != images or before["data"] != now["data"]:
        was = stored.get(IMAGES, {})
        same = stored.get(IMAGES) == images
        what = "the same images from another place" if same else f"other images than before ({_counted(was)})"
        words.insert(0, what)
    return words


def batch_size_of(folder: RunFolder) -> int | None:
    """Return the batch size of the run in a folder, None where there is none that has begun."""
    if folder.is_empty() or not folder.config.exists():
        return None
    stored = from_stored(read_stored(folder.path), folder.path).recipe.batch_size
    return stored if isinstance(stored, int) else None


def _take_batch_size(now: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Let a batch size that is chosen by the program be that of a stored run."""
    if now["recipe"]["batch_size"] == AUTO:
        now["recipe"]["batch_size"] = before["recipe"]["batch_size"]


def _comparable(request: TrainRequest) -> dict[str, Any]:
    """Return a request with its settings in one spelling, without what makes no difference between two runs."""
    full = dump(request)
    for name, kinds in SETTINGS.items():
        full[name] = full[name] and describe(build(kinds, full[name], what=name))
    return {
        name: value
        for name, value in full.items()
        if name not in ("output", "device", "cache_memory", "cache_disk", "tracker")
    }


def _counted(images: Mapping[str, Any]) -> str:
    return f"{images.get('training', '?')} for training, {images.get('held_out', '?')} held out"


def _spoken(name: str) -> str:
    return name.replace("_", " ")
