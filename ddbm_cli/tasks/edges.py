"""Create pairs for training from images: OUT/B gets the image on white, OUT/A its sketch, under the same name."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.hands import strokes_of
from ddbm_cli.imaging.io import opened, reduced
from ddbm_cli.imaging.sketch import Style, draw, on_white
from ddbm_cli.imaging.walk import Skipped
from ddbm_cli.imaging.writing import save_in_folder
from ddbm_cli.options.data import EdgesRequest
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written
from ddbm_cli.tasks.images_in import images_in, random_of, splits_of


@dataclass(frozen=True)
class _Pair:
    """An image, the name of its pair, and the two files to write."""

    picture: Path
    name: str
    sketch: Path
    target: Path


@dataclass(frozen=True)
class _Planned:
    pairs: list[_Pair]
    failures: list[Failed]
    skipped: Skipped


def run(request: EdgesRequest) -> Iterator[Event]:
    """Draw all images of a folder; yields what happens. A bad image is skipped and reported.

    Raises:
        UsageError: there is nothing to draw, or the folders or the table of splits cannot be used.
    """
    began = time.monotonic()
    plan = _plan(request)
    pairs, failures = plan.pairs, plan.failures
    todo = [pair for pair in pairs if request.overwrite or not (pair.sketch.exists() and pair.target.exists())]
    kept, written = len(pairs) - len(todo), 0
    yield Planned(total=len(pairs) + len(failures), kept=kept, facts=_facts(request, len(pairs), plan.skipped))
    yield from failures
    failed = len(failures)
    for pair in [] if request.dry_run else todo:
        try:
            _make(request, pair)
        except ImageError as error:
            failed += 1
            yield Failed(source=pair.picture, message=error.message, hint=error.hint)
        else:
            written += 1
            yield Written(source=pair.picture, output=pair.sketch, record={"target": str(pair.target)})
    seconds = time.monotonic() - began
    yield Finished(written=written, kept=kept, failed=failed, seconds=seconds, output=request.output)


def _plan(request: EdgesRequest) -> _Planned:
    listing = images_in(request.pictures, request.output, recursive=request.recursive)
    splits = splits_of(request.split_by) if request.split_by else None
    pairs: list[_Pair] = []
    failures = [Failed(source=each.path, message=each.message, hint=each.hint) for each in listing.problems]
    for image in listing.stems().values():
        file = image.relative_to(request.pictures)
        if splits is not None and file.as_posix() not in splits:
            message = f"{image}: not in {request.split_by}"
            failures.append(Failed(source=image, message=message, hint="add a line for it, with its split"))
            continue
        root = request.output if splits is None else request.output / splits[file.as_posix()]
        name = file.with_suffix("").as_posix()
        pairs.append(_Pair(image, name, root / "A" / f"{name}.png", root / "B" / f"{name}.png"))
    return _Planned(pairs, failures, listing.skipped)


def _facts(request: EdgesRequest, count: int, skipped: Skipped) -> dict[str, str]:
    share = f", {request.pencil_share:.0%} pencil" if request.style == "mixed" else ""
    hand = "" if request.hand == "plain" else f", {request.hand} lines"
    return {
        "Images": f"{count} of {request.pictures}" + (f"; left out: {skipped}" if skipped else ""),
        "Pairs": f"{request.output}, {request.size}x{request.size}",
        "Style": f"{request.style}{share}{hand}, seed {request.seed}",
    }


def _make(request: EdgesRequest, pair: _Pair) -> None:
    style: Style = request.style if request.style != "mixed" else _style(request, pair.name)
    with opened(pair.picture) as found:
        picture = reduced(found)
        unsteady = random_of(request.seed, pair.name, "hand")
        hand = strokes_of(request.hand, request.hand_strength, unsteady)
        pen = random_of(request.seed, pair.name, "pen")
        sketch = draw(picture, size=request.size, style=style, rng=pen, hand=hand, unsteady=unsteady)
        target = on_white(picture, request.size)
    for image, path in ((sketch, pair.sketch), (target, pair.target)):
        save_in_folder(image, path)


def _style(request: EdgesRequest, name: str) -> Style:
    return "pencil" if random_of(request.seed, name, "style").random() < request.pencil_share else "ink"
