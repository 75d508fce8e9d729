"""Writing behind the network: results are encoded and saved in threads, within a bounded amount of memory."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from torch import Tensor

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture, write_atomically
from ddbm_cli.imaging.memory import DECODED
from ddbm_cli.imaging.origin import Origin
from ddbm_cli.tasks.making import Loaded, Maker, is_pipe
from ddbm_cli.tasks.recorder import Frames
from ddbm_cli.tasks.records import Records
from ddbm_cli.tasks.trajectory import TrajectoryFiles

BYTES_PER_PIXEL = 16
"""Memory to enlarge, compose and encode an image, measured for PNG with --keep-size."""


class Saved(NamedTuple):
    """An output that is complete: its record, the SHA-256 of its file, and the network's time for it."""

    record: dict[str, Any]
    digest: str
    milliseconds: float


Saving = Future[Saved | None]
"""An output that is being saved; None if the output exists already."""


class Saver:
    """Saves results.

    Args:
        maker, records: what makes images and records.
        threads: where it happens.
        stdout: the stream that "-" stands for.
        overwrite: replace outputs that appeared during the run.
        trajectories: the files of trajectories; None for none.
    """

    def __init__(
        self,
        maker: Maker,
        records: Records,
        threads: ThreadPoolExecutor,
        *,
        stdout: BinaryIO | None,
        quality: int,
        overwrite: bool,
        trajectories: TrajectoryFiles | None = None,
    ) -> None:
        self._maker = maker
        self._records = records
        self._threads = threads
        self._stdout = stdout
        self._quality = quality
        self._overwrite = overwrite
        self._trajectories = trajectories
        self._waiting: deque[tuple[Job, Saving]] = deque()

    def submit(self, loaded: Loaded, result: Tensor, milliseconds: float) -> None:
        """Save a result (3, H, W), which took the network this long, in the background."""
        recorder = self._maker.recorder
        frames = recorder.take(loaded.job) if recorder else ()
        self._waiting.append((loaded.job, self._threads.submit(self._save, loaded, result, milliseconds, frames)))

    def finished(self, *, leave: int | None = None) -> Iterator[tuple[Job, Saving]]:
        """Yield what is saved, in order; wait until at most `leave` outputs are not, None for no waiting."""
        most = len(self._waiting) if leave is None else leave
        while self._waiting and (len(self._waiting) > most or self._waiting[0][1].done()):
            job, saving = self._waiting.popleft()
            saving.exception()  # waits
            yield job, saving

    def _origin(self, origin: Origin) -> Origin:
        """Return what an output takes over from its input's file: with --metadata basic or none colours only."""
        return origin if self._maker.request.metadata == "full" else Origin(origin.managed)

    def _save(self, loaded: Loaded, result: Tensor, milliseconds: float, frames: Frames) -> Saved | None:
        job = loaded.job
        width, height = loaded.size(keep_size=self._maker.request.keep_size)
        deep = self._maker.request.bits == "16"
        with DECODED.hold(width * height * BYTES_PER_PIXEL * (3 if deep else 1)):
            image = self._maker.finish(loaded, result)
            record = self._records.of(loaded)
            text = self._records.texts(record)
            body = encode_picture(
                image,
                self._records.format(job),
                quality=self._quality,
                text=text,
                origin=self._origin(loaded.origin),
                deep=self._maker.deep(loaded, result, image) if deep else None,
            )
        saved = Saved(record, sha256(body), milliseconds)
        if is_pipe(job.output):
            if self._stdout:
                self._stdout.write(body)
                self._stdout.flush()
            return saved
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(
                f"{job.output.parent}: cannot create this folder ({error.strerror})", hint="check the path"
            ) from None
        if self._trajectories:
            self._trajectories.write(job.output, frames, partial(self._maker.shaped, loaded), image)
        # What another run on the same folder has made meanwhile, perhaps with other settings, is kept.
        return saved if write_atomically(job.output, body, replace=self._overwrite) else None
