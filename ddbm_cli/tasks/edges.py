"""Make pairs for training from pictures: OUT/B the picture on white, OUT/A its sketch, under the same name."""

import csv
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ddbm_cli.errors import ImageError, UsageError
from ddbm_cli.imaging.io import PICTURE_EXTENSIONS, open_picture, save_picture
from ddbm_cli.imaging.sketch import Style, draw, on_white
from ddbm_cli.settings import settings
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written


@settings
class EdgesRequest:
    """What to draw, and where to.

    style: "mixed" draws a share `pencil_share` of the pictures in coloured pencil and the rest in ink.
    split_by: a table with columns `file` and `split`; the pairs of each split get a folder of their own.
    """

    pictures: Path
    output: Path
    size: Annotated[int, Field(ge=8, le=2048)] = 64
    style: Literal["ink", "pencil", "mixed"] = "mixed"
    pencil_share: Annotated[float, Field(ge=0, le=1)] = 0.6
    seed: int = 0
    recursive: bool = False
    split_by: Path | None = None
    overwrite: bool = False
    dry_run: bool = False


def run(request: EdgesRequest) -> Iterator[Event]:
    """Draw all pictures of a folder; yields what happens. A bad picture costs only itself.

    Raises:
        UsageError: there is nothing to draw, or the table of splits cannot be used.
    """
    began = time.monotonic()
    pictures = _find(request)
    splits = _splits(request.split_by) if request.split_by else None
    yield Planned(total=len(pictures), facts={"Pairs": str(request.output), "Style": request.style})
    taken: dict[str, Path] = {}
    written = kept = failed = 0
    for picture in pictures:
        name = picture.relative_to(request.pictures).with_suffix("").as_posix()
        try:
            if name in taken:
                raise ImageError(f"{picture}: {taken[name].name} has the same name", hint="rename one of the two")
            taken[name] = picture
            sketch_path, picture_path = _places(request, picture, name, splits)
            if sketch_path.exists() and picture_path.exists() and not request.overwrite:
                kept += 1
                continue
            if not request.dry_run:
                _make_pair(request, picture, name, sketch_path, picture_path)
        except ImageError as error:
            failed += 1
            yield Failed(source=picture, message=error.message, hint=error.hint)
        else:
            written += 1
            yield Written(source=picture, output=sketch_path)
    seconds = time.monotonic() - began
    yield Finished(written=written, kept=kept, failed=failed, seconds=seconds, output=request.output)


def _find(request: EdgesRequest) -> list[Path]:
    if not request.pictures.is_dir():
        raise UsageError(f"{request.pictures}: no such folder", hint="name a folder of pictures")
    found = request.pictures.rglob("*") if request.recursive else request.pictures.glob("*")
    pictures = sorted(
        path for path in found if path.suffix.lower() in PICTURE_EXTENSIONS and not path.name.startswith(".")
    )
    if not pictures:
        raise UsageError(f"{request.pictures}: no pictures in it", hint="name a folder of pictures, or add -r")
    return pictures


def _splits(table: Path) -> dict[str, str]:
    if not table.is_file():
        raise UsageError(f"{table}: no such file", hint="name a table with the columns file and split")
    with table.open(newline="") as file:
        first = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter="\t" if "\t" in first else ","))
    if not rows or not {"file", "split"} <= rows[0].keys():
        raise UsageError(f"{table}: no columns 'file' and 'split'", hint="its first line must name the columns")
    return {row["file"]: row["split"] for row in rows}


def _places(request: EdgesRequest, picture: Path, name: str, splits: dict[str, str] | None) -> tuple[Path, Path]:
    root = request.output
    if splits is not None:
        listed = picture.relative_to(request.pictures).as_posix()
        if listed not in splits:
            raise ImageError(f"{picture}: not in {request.split_by}", hint="add it to the table, with its split")
        root = root / splits[listed]
    return root / "A" / f"{name}.png", root / "B" / f"{name}.png"


def _make_pair(request: EdgesRequest, picture: Path, name: str, sketch_path: Path, picture_path: Path) -> None:
    opened = open_picture(picture)
    style: Style = request.style if request.style != "mixed" else _style_of(name, request)
    sketch = draw(opened, size=request.size, style=style, rng=_random(request.seed, name, style))
    for image, path in ((sketch, sketch_path), (on_white(opened, request.size), picture_path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, path)


def _style_of(name: str, request: EdgesRequest) -> Style:
    return "pencil" if _random(request.seed, name, "style").random() < request.pencil_share else "ink"


def _random(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return a generator that belongs to one picture, so that order and neighbours change nothing."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
