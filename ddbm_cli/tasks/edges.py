"""Make pairs for training from pictures: OUT/B the picture on white, OUT/A its sketch, under the same name."""

import csv
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.io import PICTURE_EXTENSIONS, open_picture, save_picture
from ddbm_cli.imaging.sketch import Style, draw, on_white
from ddbm_cli.options.data import EdgesRequest
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written


@dataclass(frozen=True)
class _Pair:
    """A picture, the name of its pair, and the two files to make."""

    picture: Path
    name: str
    sketch: Path
    target: Path


def run(request: EdgesRequest) -> Iterator[Event]:
    """Draw all pictures of a folder; yields what happens. A bad picture costs only itself.

    Raises:
        UsageError: there is nothing to draw, or the folders or the table of splits cannot be used.
    """
    began = time.monotonic()
    pairs, failures = _plan(request)
    todo = [pair for pair in pairs if request.overwrite or not (pair.sketch.exists() and pair.target.exists())]
    kept, written = len(pairs) - len(todo), 0
    yield Planned(total=len(pairs) + len(failures), kept=kept, facts=_facts(request))
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


def _plan(request: EdgesRequest) -> tuple[list[_Pair], list[Failed]]:
    pictures = _find(request)
    splits = _read_splits(request.split_by) if request.split_by else None
    pairs: dict[str, _Pair] = {}
    failures = []
    for picture in pictures:
        file = picture.relative_to(request.pictures)
        name = file.with_suffix("").as_posix()
        if name in pairs:
            message = f"{picture}: {pairs[name].picture.name} has the same name but for the extension"
            failures.append(Failed(source=picture, message=message, hint="rename or remove one of the two"))
        elif splits is not None and file.as_posix() not in splits:
            message = f"{picture}: not in {request.split_by}"
            failures.append(Failed(source=picture, message=message, hint="add a line for it, with its split"))
        else:
            root = request.output if splits is None else request.output / splits[file.as_posix()]
            pairs[name] = _Pair(picture, name, root / "A" / f"{name}.png", root / "B" / f"{name}.png")
    return list(pairs.values()), failures


def _find(request: EdgesRequest) -> list[Path]:
    folder = request.pictures
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="name a folder of pictures")
    if request.output.exists() and not request.output.is_dir():
        raise UsageError(f"{request.output}: not a folder", hint="name another folder for the pairs")
    if request.recursive and request.output.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"{request.output} lies in {folder}: with -r its pairs would be taken for pictures",
            hint="name a folder for the pairs elsewhere",
        )
    pictures = sorted(
        path
        for path in (folder.rglob("*") if request.recursive else folder.glob("*"))
        if path.suffix.lower() in PICTURE_EXTENSIONS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not pictures:
        hint = (
            "name another folder" if request.recursive else "name another folder, or add -r to look in its sub-folders"
        )
        raise UsageError(f"{folder}: no pictures in it", hint=hint)
    return pictures


def _read_splits(table: Path) -> dict[str, str]:
    """Return the split of each file that a table lists, its columns parted by tabs or commas."""
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{table}: not readable ({error})", hint="name a text file with the columns file and split"
        ) from None
    rows = csv.DictReader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    missing = [column for column in ("file", "split") if column not in (rows.fieldnames or ())]
    if missing:
        raise UsageError(
            f"{table}: no column '{missing[0]}'", hint="its first line must name the columns, file and split among them"
        )
    splits = {row["file"]: row["split"] for row in rows}
    for file, split in splits.items():
        if not split or Path(split).name != split:
            raise UsageError(
                f"{table}: '{split or ''}' is no split for {file}", hint="a split is a plain word, such as train or val"
            )
    return splits


def _facts(request: EdgesRequest) -> dict[str, str]:
    share = f", {request.pencil_share:.0%} pencil" if request.style == "mixed" else ""
    return {
        "Pictures": str(request.pictures),
        "Pairs": f"{request.output}, {request.size}x{request.size}",
        "Style": f"{request.style}{share}, seed {request.seed}",
    }


def _make(request: EdgesRequest, pair: _Pair) -> None:
    picture = open_picture(pair.picture)
    style: Style = request.style if request.style != "mixed" else _style(request, pair.name)
    sketch = draw(picture, size=request.size, style=style, rng=_random(request.seed, pair.name, "pen"))
    for image, path in ((sketch, pair.sketch), (on_white(picture, request.size), pair.target)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_picture(image, path)
        except OSError as error:
            raise ImageError(f"{path}: cannot be written ({error})", hint="check the folder and the disk") from None


def _style(request: EdgesRequest, name: str) -> Style:
    return "pencil" if _random(request.seed, name, "style").random() < request.pencil_share else "ink"


def _random(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return a generator that belongs to one picture, so that order and neighbours change nothing."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
