"""Show training data exactly as the network gets them: a sheet of augmented pairs of one step."""

import time
from collections.abc import Iterator

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.events import Noticed
from ddbm_cli.imaging.io import format_of, save_picture
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.options.data import PreviewRequest
from ddbm_cli.tasks.events import Event, Finished, Planned, Written
from ddbm_cli.tasks.train.data import load_data
from ddbm_cli.tasks.train.request import request as resolved

COLUMNS = 4


def run(request: PreviewRequest) -> Iterator[Event | Noticed]:
    """Write a sheet of pairs, source left and target right.

    Raises:
        UsageError: there are no pairs, their layout is unknown, or the output cannot be written.
    """
    began = time.monotonic()
    if format_of(request.output) is None:
        raise UsageError(f"{request.output}: cannot write this format", hint="name an image, such as preview.png")
    if request.output.exists() and not request.overwrite:
        raise UsageError(f"{request.output} exists already", hint="choose another output, or pass --overwrite")
    names = ("data", "direction", "size", "fit", "val_share", "augment", "source")
    given = {name: getattr(request, name) for name in names} | ({"task": "prior"} if request.prior else {})
    recipe = {"seed": request.seed, "batch_size": request.count}
    data = load_data(resolved({**given, "recipe": recipe}), exclude=())
    yield Planned(total=1, facts={name: fact for name, fact in data.facts().items() if fact})
    batch = data.batches[request.step]
    for error in data.batches.new_failures():  # those of `data` are in the header
        yield Noticed(message=f"{error.message}; another pair is shown instead", hint=error.hint)
    sides = [batch.target] if request.prior else [batch.source, batch.target]
    try:
        request.output.parent.mkdir(parents=True, exist_ok=True)
        save_picture(contact_sheet(sides, columns=COLUMNS), request.output)
    except (OSError, ImageError) as error:
        raise UsageError(f"{request.output}: cannot be written ({error})", hint="choose another output") from None
    yield Written(source=request.data[0], output=request.output, record={"pairs": len(batch.target)})
    yield Finished(written=1, kept=0, failed=0, seconds=time.monotonic() - began, output=request.output)
