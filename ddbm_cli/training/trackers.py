"""Trackers, by accelerate: TensorBoard, Weights & Biases and others record losses and samples.

A tracker is a program of others that may be absent, offline or full. None of that ends a training: what a tracker
raises is returned as a message, and it is not used any longer.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.tracking import AUTO

PROJECT = "ddbm"
LOGS = "logs"
"""The folder of TensorBoard's files in that of a run."""

MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "comet_ml": ("comet_ml",)}
"""The modules that a tracker needs one of, where that is not its name."""

PACKAGES = {"comet_ml": "comet-ml"}


def chosen(names: Sequence[str]) -> list[str]:
    """Return the trackers to use, in order: those of the names, and for "auto" TensorBoard where it is installed.

    Raises:
        UsageError: one that is named is not installed.
    """
    wanted = dict.fromkeys(names)
    for name in wanted:
        if name != AUTO and not _is_installed(name):
            package = "'ddbm-cli[train]'" if name == "tensorboard" else PACKAGES.get(name, name)
            raise UsageError(
                f"--tracker {name}: it is not installed",
                hint=f"pip install {package}, or pass --tracker none",
            )
    automatic = ["tensorboard"] if AUTO in wanted and _is_installed("tensorboard") else []
    return list(dict.fromkeys([*(name for name in wanted if name != AUTO), *automatic]))


def _is_installed(name: str) -> bool:
    there = [importlib.util.find_spec(module) is not None for module in MODULES.get(name, (name,))]
    return any(there) and importlib.util.find_spec("accelerate") is not None


class Trackers:
    """Records of a run, by the main process alone.

    Args:
        names: of trackers that are installed.
        folder: of the run.
        step: the step that the run resumes from; what was recorded of later ones is replaced.
        identity: the same for all sessions of a run, so that a resumed one is continued.
    """

    def __init__(self, names: Sequence[str], folder: Path, *, step: int, identity: str) -> None:
        self._open: dict[str, Any] = {}
        self._faults: list[str] = []
        for name in names:
            self._try(name, lambda name=name: self._start(name, folder, step, identity))  # type: ignore[misc]

    def faults(self) -> list[str]:
        """Return what went wrong since the last call, each in one line."""
        found, self._faults = self._faults, []
        return found

    def configure(self, values: Mapping[str, str]) -> None:
        """Record the settings of the run."""
        for name, tracker in list(self._open.items()):
            if name == "tensorboard":  # as text: its table of hyperparameters would be a run of its own
                text = "\n".join(f"    {key}: {value}" for key, value in values.items())
                self._try(name, lambda tracker=tracker, text=text: tracker.writer.add_text("settings", text, 0))  # type: ignore[misc]
            else:
                self._try(name, lambda tracker=tracker: tracker.store_init_configuration(dict(values)))  # type: ignore[misc]

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        for name, tracker in list(self._open.items()):
            self._try(name, lambda tracker=tracker: tracker.log(dict(values), step=step))  # type: ignore[misc]

    def images(self, title: str, image: Tensor, step: int) -> None:
        """Record an image, (3, H, W) in -1..1, at a step; trackers that have no images are left out."""
        pixels = ((image.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()[None]
        for name, tracker in list(self._open.items()):
            how = {"dataformats": "NHWC"} if name == "tensorboard" else {}
            if hasattr(tracker, "log_images"):
                self._try(name, lambda t=tracker, how=how: t.log_images({title: pixels}, step=step, **how))  # type: ignore[misc]

    def close(self) -> None:
        """Write what is left, and end the records of this session."""
        for name, tracker in list(self._open.items()):
            self._try(name, tracker.finish)
        self._open.clear()

    def _start(self, name: str, folder: Path, step: int, identity: str) -> None:
        for noisy in ("tensorboard", "tensorboardX", "accelerate", name):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # trackers ask it which process they are in
        kind = LOGGER_TYPE_TO_CLASS[name]
        given: dict[str, Any] = {}
        if name == "tensorboard":
            project, given = LOGS, {"purge_step": step + 1} if step else {}
        elif name == "wandb":
            os.environ.setdefault("WANDB_SILENT", "true")
            project = PROJECT
            given = {"name": folder.absolute().name, "id": identity, "resume": "allow", "dir": str(folder)}
            given |= {} if _has_account() else {"mode": os.environ.get("WANDB_MODE", "offline")}
        else:
            project = PROJECT
        place = {"logging_dir": str(folder)} if kind.requires_logging_directory else {}
        tracker = kind(project, **place, **given)
        tracker.start()
        self._open[name] = tracker

    def _try(self, name: str, act: Callable[[], object]) -> None:
        """Do something with a tracker; leave it out from now on where that fails."""
        try:
            act()
        except Exception as error:  # of a program of others, which may raise anything
            self._open.pop(name, None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._faults.append(f"--tracker {name}: {reason}; it is not used any longer in this session")


def _has_account() -> bool:
    """Return whether Weights & Biases would ask nothing: a key is set, or stored by `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return "api.wandb.ai" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
