"""The commands on folders, as functions."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.api.model import Model
from ddbm_cli.api.settings import with_spelled
from ddbm_cli.models import TranslationModel
from ddbm_cli.tasks import sample as sample_task
from ddbm_cli.tasks import translate as translate_task
from ddbm_cli.tasks.events import Event, Finished


def translate(
    source: str | Path,
    output: str | Path | None = None,
    *,
    model: Model | str | Path | None = None,
    progress: Callable[[Event], None] | None = None,
    **options: Any,
) -> Finished:
    """Do what `ddbm translate` does: translate a file, a folder or a pattern, and write the results.

    Args:
        source, output: as on the command line.
        model: a loaded model, or a reference.
        progress: called with every event (`Planned`, `Evaluated`, `Written`, `Failed` and so on).
        options: as on the command line, with underscores: nfe, seed, sampler, recursive, overwrite and so on.

    Returns:
        How many images were written, kept and failed. Images that fail are reported as events and skipped.

    Raises:
        UsageError: an option cannot be used, or there is nothing to do.
        ModelError: the model is not available.
    """
    request = translate_task.request(
        **_request(options, model), source=str(source), output=Path(output) if output is not None else None
    )
    return _drive(translate_task.run(request, model=_loaded(model)), progress)


def sample(
    output: str | Path,
    source: str | Path | None = None,
    *,
    model: Model | str | Path | None = None,
    progress: Callable[[Event], None] | None = None,
    **options: Any,
) -> Finished:
    """Do what `ddbm sample` does: write images from noise, or several draws of each source, into a folder.

    Args:
        output: the folder.
        source: a file, folder or pattern, for a bridge; None for images from noise, with a prior.
        model, progress, options: as of `translate`; number, start, interpolate, sheet, npz and so on.

    Returns, Raises: as `translate`.
    """
    request = sample_task.request(
        **_request(options, model), output=Path(output), source=str(source) if source is not None else None
    )
    return _drive(sample_task.run(request, model=_loaded(model)), progress)


def _request(options: Mapping[str, Any], model: Model | str | Path | None) -> dict[str, Any]:
    """Return the options of a request."""
    reference = model.reference if isinstance(model, Model) else None if model is None else str(model)
    return with_spelled(options) | {"model": reference}


def _loaded(model: object) -> TranslationModel | None:
    return model.translation_model if isinstance(model, Model) else None


def _drive(events: Iterator[Event], progress: Callable[[Event], None] | None) -> Finished:
    """Run a task to its end, and return its last event."""
    last: Event | None = None
    for last in events:
        if progress:
            progress(last)
    if not isinstance(last, Finished):  # a dry run
        return Finished(written=0, kept=0, failed=0, seconds=0.0)
    return last
