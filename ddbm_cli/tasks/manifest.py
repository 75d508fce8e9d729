"""The manifest of an output folder: one JSON line for each output and each failure, in `manifest.jsonl`.

Lines are only ever added, each by one write, so that several processes can work on one folder. The last line of an
output is the valid one. A process that is killed between an output and its line leaves that line to the next run.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.walk import MANIFEST

NAME = MANIFEST

WRITTEN, KEPT, FAILED = "written", "kept", "failed"
"""Values of "status": made by this program; found without a record of how it was made; not made."""

KEYS = (
    *("input", "output", "status", "input_sha256", "output_sha256"),
    *("settings", "sampler", "grid", "seed", "draw", "nfe", "milliseconds"),
)
"""Keys of each line, next to "notes"; null where unknown. settings: digest of all that decides an output but its files.
sampler, grid: those that were used, also where `--sampler auto` chose them, as on the command line.
milliseconds: the time of the network for this image."""

LONGEST = 2**16
"""Bytes of a line that are read."""


class Manifest:
    """The manifest of one folder.

    Args:
        folder: the output folder, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.outputs: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.is_ours = True
        self._folder = folder
        self._file: int | None = None
        self._read()

    def _read(self) -> None:
        try:
            if not self.path.exists() and not self.path.is_symlink():
                return
            if self.path.is_symlink() or not self.path.is_file():
                self.is_ours = False
                return
            with self.path.open("rb") as file:
                while line := file.readline(LONGEST):
                    self._take(line)
        except OSError:
            self.is_ours = False
            return
        self.is_ours = bool(self.outputs or self.inputs) or self.path.stat().st_size == 0

    def _take(self, line: bytes) -> None:
        """Take one line; one that was cut off is skipped."""
        try:
            entry = parse_json(line)
            status, name, output = entry["status"], entry["input"], entry["output"]
        except (ValueError, LookupError, TypeError):
            return
        if status in (WRITTEN, KEPT, FAILED) and isinstance(name, str):
            self.inputs[name] = entry
            if isinstance(output, str) and status != FAILED:
                self.outputs[output] = entry

    def failed(self) -> set[str]:
        """Return the inputs that failed last.

        Raises:
            UsageError: there is no manifest.
        """
        if not self.inputs:
            raise UsageError(f"{self.path}: no list of earlier failures", hint="remove --retry")
        return {name for name, entry in self.inputs.items() if entry["status"] == FAILED}

    def name(self, output: Path) -> str:
        """Return an output's path below the folder, with forward slashes."""
        path = output.relative_to(self._folder) if output.is_relative_to(self._folder) else output
        return path.as_posix().encode("utf-8", "backslashreplace").decode()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps({key: entry.get(key) for key in KEYS} | {"notes": list(entry.get("notes", ()))})
        body = line.encode() + b"\n"
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.path, flags, 0o666)
            size = os.fstat(self._file).st_size
            if size:  # a process that was killed may have left a part of a line
                os.lseek(self._file, size - 1, os.SEEK_SET)
                body = body if os.read(self._file, 1) == b"\n" else b"\n" + body
        if os.write(self._file, body) != len(body):
            raise OSError(0, "the disk is full", str(self.path))
        self._take(line.encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
