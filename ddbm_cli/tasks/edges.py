"""Create pairs for training from images: OUT/B gets the image on white, OUT/A its sketch, under the same name."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddbm_cli.foundation.documents import read_table
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.hashing import number_of
from ddbm_cli.imaging.hands import strokes_of
from ddbm_cli.imaging.io import opened, reduced, save_picture
from ddbm_cli.imaging.sketch import Style, draw, on_white
from ddbm_cli.imaging.walk import Listing, Skipped, list_images
from ddbm_cli.options.data import EdgesRequest
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written


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
    listing = _find(request)
    splits = _read_splits(request.split_by) if request.split_by else None
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


def _find(request: EdgesRequest) -> Listing:
    folder = request.pictures
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="pass a folder of images")
    if request.output.exists() and not request.output.is_dir():
        raise UsageError(f"{request.output}: not a folder", hint="choose another folder for the pairs")
    if request.recursive and request.output.exists() and request.output.samefile(folder):
        raise UsageError(
            f"{request.output}: with -r the pairs would be taken for images", hint="choose another folder for the pairs"
        )
    listing = list_images(folder, recursive=request.recursive, exclude=(request.output,))
    if not listing.names and listing.problems:
        raise UsageError(listing.problems[0].message, hint=listing.problems[0].hint)
    if not listing.names:
        left = f"; left out: {listing.skipped}" if listing.skipped else ""
        hint = (
            "pass another folder" if request.recursive else "pass another folder, or add -r to search its sub-folders"
        )
        raise UsageError(f"{folder}: no images in it{left}", hint=hint)
    return listing


def _read_splits(table: Path) -> dict[str, str]:
    """Return the split of each file in a table whose columns are separated by tabs or commas."""
    rows = read_table(table, hint="pass a text file with the columns file and split")
    missing = [column for column in ("file", "split") if column not in (rows[0] if rows else ())]
    if missing:
        raise UsageError(
            f"{table}: no column '{missing[0]}'", hint="its first line must contain the column names file and split"
        )
    splits = {row["file"]: row["split"] for row in rows}
    for file, split in splits.items():
        if not split or Path(split).name != split:
            raise UsageError(
                f"{table}: '{split or ''}' is not a split, for {file}",
                hint="a split is a plain word, such as train or val",
            )
    return splits


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
        unsteady = _random(request.seed, pair.name, "hand")
        hand = strokes_of(request.hand, request.hand_strength, unsteady)
        pen = _random(request.seed, pair.name, "pen")
        sketch = draw(picture, size=request.size, style=style, rng=pen, hand=hand, unsteady=unsteady)
        target = on_white(picture, request.size)
    for image, path in ((sketch, pair.sketch), (target, pair.target)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_picture(image, path)
        except OSError as error:
            raise ImageError(f"{path}: cannot be written ({error})", hint="check the folder and the disk") from None


def _style(request: EdgesRequest, name: str) -> Style:
    return "pencil" if _random(request.seed, name, "style").random() < request.pencil_share else "ink"


def _random(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return a generator that depends on one image, so that order and other images change nothing."""
    return np.random.default_rng(number_of(f"{seed}\n{purpose}\n{name}"))
