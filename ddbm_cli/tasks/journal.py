"""What a run writes into the manifest of its output folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.files import Job
from ddbm_cli.tasks.events import Noticed
from ddbm_cli.tasks.making import Maker, text_of
from ddbm_cli.tasks.manifest import FAILED, KEPT, WRITTEN, Manifest
from ddbm_cli.tasks.records import Records
from ddbm_cli.tasks.saving import Saved


class Journal:
    """Adds the lines of one run.

    Args:
        folder: the output folder; None to write nothing.
        maker, records: what makes outputs and their records.
    """

    def __init__(self, folder: Path | None, maker: Maker, records: Records) -> None:
        self._manifest = None if folder is None else Manifest(folder)
        self._maker = maker
        self._records = records
        self._notes: list[Noticed] = []
        if self._manifest and not self._manifest.is_ours:
            self._give_up("exists and is not a list of this program; no list is written")

    def notes(self) -> Iterator[Noticed]:
        """Yield what is to be said since the last call."""
        while self._notes:
            yield self._notes.pop(0)

    def written(self, job: Job, saved: Saved) -> None:
        """Add an output that is complete."""
        record = saved.record
        self._add(
            job,
            status=WRITTEN,
            output_sha256=saved.digest,
            milliseconds=round(saved.milliseconds, 1),
            notes=[record["prepared"]] if "prepared" in record else (),
            **self._made(job),
            input_sha256=record.get("source_sha256"),
        )

    def kept(self, job: Job, differs: str) -> None:
        """Add an output that exists and has no line, such as one whose run was killed before its line."""
        if self._manifest is None or self._manifest.name(job.output) in self._manifest.outputs:
            return
        try:
            digest = sha256_of_file(job.output)
        except OSError:
            return
        found = self._records.found(job.output)
        made = {} if differs else self._made(job)
        self._add(
            job,
            status=WRITTEN if found else KEPT,
            output_sha256=digest,
            input_sha256=found.get("source_sha256"),
            notes=(differs,) if differs else (),
            **made,
        )

    def failed(self, job: Job, error: ImageError) -> None:
        """Add a failure."""
        self._add(job, status=FAILED, notes=(error.message, error.hint))

    def close(self) -> None:
        """Close the manifest."""
        if self._manifest:
            self._manifest.close()

    def _made(self, job: Job) -> dict[str, Any]:
        plan = self._maker.plan
        return {
            "settings": self._records.digest(job),
            "sampler": spell(plan.sampler),
            "grid": spell(plan.grid),
            "seed": self._maker.request.seed,
            "draw": job.draw,
            "nfe": plan.nfe,
        }

    def _add(self, job: Job, **entry: Any) -> None:
        if self._manifest is None:
            return
        try:
            self._manifest.add(entry | {"input": text_of(job.name), "output": self._manifest.name(job.output)})
        except OSError as error:
            self._give_up(f"cannot be written ({error.strerror})")

    def _give_up(self, why: str) -> None:
        assert self._manifest
        self._notes.append(Noticed(message=f"{self._manifest.path}: {why}", hint="choose another output folder"))
        self._manifest = None
