"""Checkpoints of a run: the newest state, the last ones before it, and the room on the disk that they need.

state.safetensors is the newest. With more than one to keep, `checkpoints/step_N.safetensors` are the last ones, and the
newest of them is the same file as state.safetensors where the file system has hard links.
"""

import errno
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.files import second_name
from ddbm_cli.foundation.text import bytes_in_words
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.options.checkpoints import FOLDER, name_of, step_of
from ddbm_cli.training.state import HEADER_KEY, Facts, save_state

MARGIN = 2**20
"""Bytes for headers, tables and reports, which are written next to a state."""


class Checkpoints:
    """Writes the states of a run, and removes old ones.

    Args:
        state: the file of the newest state.
        keep: how many checkpoints to keep, the newest included.
    """

    def __init__(self, state: Path, *, keep: int = 1) -> None:
        self.state = state
        self.folder = state.parent / FOLDER
        self._keep = keep
        self.others = 0
        """Bytes of the files that are written after a state, such as the models."""

    def require_room(self, size: int) -> None:
        """Check that the disk has room for a state of `size` bytes and what is written after it.

        Raises:
            OSError: it has not; `filename` is the state.
        """
        there = next(each for each in (self.state.parent.absolute(), *self.state.absolute().parents) if each.exists())
        needed, free = size + self.others + MARGIN, shutil.disk_usage(there).free
        if free < needed:
            text = f"a save needs {bytes_in_words(needed)} of the disk, and {bytes_in_words(free)} are free"
            raise OSError(errno.ENOSPC, text, str(self.state))

    def save(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write a state atomically; the old state stays until the new one is complete.

        Raises:
            OSError: it cannot be written.
        """
        self.require_room(sum(tensor.nbytes for tensor in tensors.values()))
        if self._keep == 1:
            save_state(self.state, tensors, facts)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = self.folder / name_of(facts["step"])
            save_state(kept, tensors, facts)
            if not second_name(kept, self.state):
                save_state(self.state, tensors, facts)
        self._prune(facts["step"])

    def _prune(self, step: int) -> None:
        """Remove checkpoints before the last ones up to a step; files that are no checkpoints of a run stay."""
        if not self.folder.is_dir():
            return
        earlier = [(number, file) for number, file in listed(self.folder) if number <= step]
        for number, file in earlier[: -self._keep] if self._keep > 1 else []:
            if _step_in(file) == number:
                with suppress(OSError):
                    file.unlink()


def listed(folder: Path) -> list[tuple[int, Path]]:
    """Return the files in a folder that have the name of a checkpoint, with their steps, in order, without links."""
    found = [(step_of(file), file) for file in folder.iterdir() if file.is_file() and not file.is_symlink()]
    return sorted((step, file) for step, file in found if step is not None)


def _step_in(file: Path) -> int | None:
    """Return the step of a state, None of another file."""
    with suppress(ModelError, ValueError, KeyError, TypeError):
        step = parse_json(read_header(file)[HEADER_KEY])["step"]
        return step if isinstance(step, int) else None
    return None
