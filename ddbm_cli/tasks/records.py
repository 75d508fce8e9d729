"""The record in every output: everything that decides it, so that it can be recognised as finished, and made again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddbm_cli import __version__
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.renamed import current
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import format_of, read_text
from ddbm_cli.tasks.making import Loaded, Maker, is_pipe

TEXT_KEY = "ddbm"
"""The key of the record, JSON, among the texts of an image file."""

NAMES_ONLY = frozenset(
    {"guide_file", "mask_file", "truth_file", "model_reference", "source_model_reference", "colours_from", "colours_to"}
)
"""Fields by which files are found again; they do not decide the output."""

ADDED = frozenset({"method", "noise_name", "ddib_sha256"})
"""Fields that older records do not have; they are compared where they exist."""


UNUSUAL = frozenset({"alpha", "strength", "bits", "prompt", "image_guidance_scale"})
"""Fields that a record holds only where they are not the default."""


class Records:
    """Writes and compares the records of one run.

    Args:
        maker: what makes the outputs.
        format: of all outputs, None for that of their names.
    """

    def __init__(self, maker: Maker, format: str | None) -> None:
        self._maker = maker
        self._format = format

    def format(self, job: Job) -> str:
        """Return the format of an output."""
        return self._format or format_of(job.output) or "png"

    def of(self, loaded: Loaded) -> dict[str, Any]:
        """Return the record of an output."""
        job = loaded.job
        record = {
            "tool": f"ddbm {__version__}",
            **self._maker.source_of(job, loaded.digest),
            **self._maker.settings(self.format(job)),
            **self._maker.own(job),
            **self._maker.circumstances(),
            **(self._maker.prepared(loaded) if loaded.notes else {}),
        }
        return {name: value for name, value in record.items() if value is not None}

    def digest(self, job: Job) -> str:
        """Return the SHA-256 of all settings that decide an output, except its own files."""
        settings = self._maker.settings(self.format(job)) | self._maker.conditions.own(job)
        decisive = {name: value for name, value in settings.items() if name not in NAMES_ONLY}
        return sha256(json.dumps(decisive, sort_keys=True).encode())

    def texts(self, record: dict[str, Any]) -> dict[str, str]:
        """Return what an output stores of its record, as --metadata sets."""
        level = self._maker.request.metadata
        if level == "none":
            return {}
        return {TEXT_KEY: json.dumps(record if level == "full" else without_names(record))}

    def found(self, output: Path) -> dict[str, Any]:
        """Return the record in an existing output, {} if it has none."""
        try:
            found = parse_json(read_text(output)[TEXT_KEY])
            found["model_sha256"]
            return dict(found)
        except (KeyError, TypeError, AttributeError, ValueError):
            return {}

    def difference(self, job: Job, read: Callable[[], bytes]) -> str:
        """Return how an existing output differs from what would be made now, "" if it does not.

        Args:
            read: returns the bytes of the source.
        """
        found = self.found(job.output)
        if not found:
            return "not made by this command"
        try:
            settings = self._maker.settings(self.format(job)) | self._maker.own(job)
        except ImageError:
            return "a file that belongs to it cannot be read"
        for name, value in parse_json(json.dumps(settings)).items():
            if name in NAMES_ONLY or (name in ADDED and name not in found):
                continue
            if current(found.get(name)) != value:
                return f"another {name.replace('_', ' ').replace('sha256', 'file')}"
        for name in UNUSUAL - set(settings):
            if name in found:
                return f"another {name.replace('_', ' ')}"
        if found.get("prepared") and found.get("prepare") != self._maker.preparation.spec:
            return "another prepare"
        if is_pipe(job.source):
            return ""
        try:
            return "" if self._maker.reads(found, job, read) else "another source image"
        except ImageError:
            return "its source cannot be read"


def without_names(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without the names of files; the number of an image from noise is no such name."""
    names = {*NAMES_ONLY, "noise_name", *(("source",) if record.get("source_sha256") else ())}
    return {name: value for name, value in record.items() if name not in names}
