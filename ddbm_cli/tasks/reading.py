"""Reading ahead of the network: images are opened in threads, in the order of the jobs, a bounded number of them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import MOST_BYTES, read_file
from ddbm_cli.tasks.making import Loaded, Maker, is_pipe

Reading = Future[Loaded | None]
"""An image that is being read; its result is None if the output has appeared in the meantime."""


def read_piped(stream: BinaryIO) -> bytes:
    """Return all of standard input.

    Raises:
        UsageError: it is larger than a file may be.
    """
    body = stream.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise UsageError(f"standard input: more than {MOST_BYTES // 2**20} MiB", hint="reduce the image first")
    return body


class Reader:
    """Opens the inputs of jobs.

    Args:
        maker: prepares them for its model.
        piped: the bytes of standard input.
        overwrite: read an input even if its output exists.
        incomplete: whether a file next to an output is missing, so that the input is read even if the output exists.
    """

    def __init__(
        self, maker: Maker, piped: bytes, *, overwrite: bool, incomplete: Callable[[Job], bool] = lambda job: False
    ) -> None:
        self._maker = maker
        self._piped = piped
        self._overwrite = overwrite
        self._incomplete = incomplete

    def read(self, job: Job) -> bytes:
        """Return the bytes of the input of a job.

        Raises:
            ImageError: it cannot be read.
        """
        return self._piped if is_pipe(job.source) else read_file(job.source)

    def ahead(self, jobs: Sequence[Job], threads: ThreadPoolExecutor, *, most: int) -> Iterator[tuple[Job, Reading]]:
        """Yield all jobs in their order, while up to `most` that follow are being read."""
        waiting: deque[tuple[Job, Reading]] = deque()
        for job in jobs:
            waiting.append((job, threads.submit(self._load, job)))
            if len(waiting) > most:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def _load(self, job: Job) -> Loaded | None:
        kept = not self._overwrite and not is_pipe(job.output) and job.output.exists()
        if kept and not self._incomplete(job):
            return None  # another run on the same folder has made it
        return self._maker.load(job, partial(self.read, job))
