"""`ddbm data instruct`: triplets from one of the sources, and their list."""

import time
from collections.abc import Iterator

from ddbm_cli.options.captions import check_instruct, is_captions
from ddbm_cli.options.data import InstructRequest
from ddbm_cli.tasks.events import Event, Finished
from ddbm_cli.tasks.instruct.triplets import Triplets


def run(request: InstructRequest) -> Iterator[Event]:
    """Make the triplets of a folder of images or of a list of captions; yields what happens.

    An image or a caption that cannot be used is skipped and reported.

    Raises:
        UsageError: there is nothing to edit, or options, folders, lists or tables cannot be used.
        ModelError: of captions, a model is not available, or the endpoint does not answer.
    """
    began = time.monotonic()
    check_instruct(request)
    triplets = Triplets(request.output, overwrite=request.overwrite)
    if is_captions(request.pictures):
        from ddbm_cli.tasks.instruct.captioned import captioned

        yield from captioned(request, triplets)
    else:
        from ddbm_cli.tasks.instruct.edits import edited

        yield from edited(request, triplets)
    if not request.dry_run:
        triplets.write_list()
    seconds = time.monotonic() - began
    yield Finished(
        written=triplets.written, kept=triplets.kept, failed=triplets.failed, seconds=seconds, output=request.output
    )
