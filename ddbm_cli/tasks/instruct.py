"""Create triplets for training edits by instruction: OUT/before, OUT/after, and their instructions in OUT/pairs.jsonl.

The list has the columns source, target, caption, edit and split; `ddbm train OUT/pairs.jsonl` reads it. The edits of an
image depend on its name and the seed alone, so that the same command resumes an interrupted run.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.documents import read_text
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.edits import EDITS, LEAST_CHANGE, SKIN, Drawing, Edited
from ddbm_cli.imaging.io import opened, reduced
from ddbm_cli.imaging.writing import save_in_folder
from ddbm_cli.options.data import InstructRequest
from ddbm_cli.tasks.events import Event, Failed, Finished, Noticed, Planned, Written
from ddbm_cli.tasks.images_in import images_in, random_of, splits_of, table_by_file

LIST = "pairs.jsonl"

TONE = re.compile(r"[A-Za-z]+([ -][A-Za-z]+)*", re.ASCII)
"""A skin tone of one person, which becomes part of file names; two persons have two, such as light/dark."""


@dataclass(frozen=True)
class _Triplet:
    """A pair that is to be made: from which image, its name in OUT, its kind, the target where that is an image."""

    picture: Path
    name: str
    edit: str
    split: str = ""
    target: Path | None = None
    value: str = ""


def run(request: InstructRequest) -> Iterator[Event]:
    """Edit all images of a folder; yields what happens. A bad image is skipped and reported.

    Raises:
        UsageError: there is nothing to edit, or the folders or tables cannot be used.
    """
    began = time.monotonic()
    listing = images_in(request.pictures, request.output, recursive=request.recursive)
    images = {image.relative_to(request.pictures).as_posix(): image for image in listing.stems().values()}
    splits = splits_of(request.split_by) if request.split_by else dict.fromkeys(images, "")
    _check_own(request.output / LIST)
    failures = [Failed(source=each.path, message=each.message, hint=each.hint) for each in listing.problems]
    for name in sorted(set(images) - set(splits)):
        message = f"{images[name]}: not in {request.split_by}"
        failures.append(Failed(source=images[name], message=message, hint="add a line for it, with its split"))
    images = {name: image for name, image in images.items() if name in splits}
    triplets = [
        *(_edits_of(request, name, image, splits[name]) for name, image in images.items()),
        _variants_of(request.variants, images, splits) if request.variants else [],
    ]
    every = [triplet for group in triplets for triplet in group]
    yield Planned(total=len(every) + len(failures), facts=_facts(request, len(images), every))
    yield from failures
    lines: list[str] = []
    written = kept = unchanged = 0
    failed = len(failures)
    for triplet in [] if request.dry_run else every:
        files = [request.output / side / f"{triplet.name}.png" for side in ("before", "after")]
        try:
            pair = _made(request, triplet)
            if pair is None:
                unchanged += 1
                continue
            if not request.overwrite and all(file.exists() for file in files):
                kept += 1
            else:
                for image, file in zip(pair.pictures(), files, strict=True):
                    save_in_folder(image, file)
                written += 1
                yield Written(source=triplet.picture, output=files[1], record={"source": str(files[0])})
        except ImageError as error:
            failed += 1
            yield Failed(source=triplet.picture, message=error.message, hint=error.hint)
            continue
        lines.append(json.dumps(_line(request, triplet, pair.value), ensure_ascii=False))
    if lines:
        write_text(request.output / LIST, "\n".join(lines) + "\n")
    if unchanged:
        yield Noticed(message=f"{unchanged} edits left out: they change less than {LEAST_CHANGE:.0%} of the image")
    seconds = time.monotonic() - began
    yield Finished(written=written, kept=kept, failed=failed, seconds=seconds, output=request.output)


def _check_own(file: Path) -> None:
    """Raise a UsageError if the list is a file that this task did not write."""
    if file.exists() and '"edit": ' not in read_text(file, hint="choose another folder for the pairs").split("\n")[0]:
        raise UsageError(f"{file}: exists and is not a list of edits", hint="choose another folder for the pairs")


def _edits_of(request: InstructRequest, name: str, image: Path, split: str) -> list[_Triplet]:
    """Return the edits of an image: different kinds, chosen by its name."""
    kinds = list(dict.fromkeys(request.edits))
    chosen = random_of(request.seed, name, "kinds").permutation(kinds)[: request.per_image]
    stem = Path(name).with_suffix("").as_posix()
    return [_Triplet(image, f"{stem}-{kind}", str(kind), split) for kind in chosen]


def _variants_of(table: Path, images: Mapping[str, Path], splits: Mapping[str, str]) -> list[_Triplet]:
    """Return the pairs of images of one object: each skin tone and the next, in both directions."""
    objects: dict[str, list[tuple[str, str]]] = {}
    for file, row in table_by_file(table, ("object", "skin_tones")).items():
        if file in images and TONE.fullmatch(row["skin_tones"] or ""):
            objects.setdefault(row["object"], []).append((file, row["skin_tones"]))
    found = []
    for tones in objects.values():
        around = [*zip(tones, tones[1:] + tones[:1], strict=True)] if len(tones) > 1 else []
        for one, other in [*around, *((end, begin) for begin, end in around)]:
            stem = Path(one[0]).with_suffix("").as_posix()
            name = f"{stem}-skin-{other[1].replace(' ', '-')}"
            found.append(_Triplet(images[one[0]], name, "skin", splits[one[0]], images[other[0]], other[1]))
    if not found:
        raise UsageError(
            f"{table}: no object in it has images in two skin tones",
            hint="check the columns file, object and skin_tones, or remove --variants",
        )
    return list({triplet.name: triplet for triplet in found}.values())


def _made(request: InstructRequest, triplet: _Triplet) -> Edited | None:
    """Return the images before and after the edit, None where they hardly differ.

    Raises:
        ImageError: an image cannot be read.
    """
    with opened(triplet.picture) as found:
        drawing = Drawing.of(reduced(found), request.size)
    if triplet.target is None:
        edited = EDITS[triplet.edit].apply(drawing, random_of(request.seed, triplet.name, "edit"))
    else:
        with opened(triplet.target) as found:
            target = Drawing.of(reduced(found), request.size).colours
        edited = Edited(drawing.colours, target, triplet.value)
    if edited.change(drawing) < LEAST_CHANGE:
        return None
    return edited


def _line(request: InstructRequest, triplet: _Triplet, value: str) -> dict[str, str]:
    sentences = EDITS[triplet.edit].instructions if triplet.target is None else SKIN
    line = {
        "source": f"before/{triplet.name}.png",
        "target": f"after/{triplet.name}.png",
        "caption": str(random_of(request.seed, triplet.name, "words").choice(sentences)).format(value=value),
        "edit": f"{triplet.edit}:{value}" if value else triplet.edit,
    }
    return line | ({"split": triplet.split} if triplet.split else {})


def _facts(request: InstructRequest, count: int, triplets: list[_Triplet]) -> dict[str, str]:
    kinds = sorted({triplet.edit for triplet in triplets})
    return {
        "Images": f"{count} of {request.pictures}",
        "Pairs": f"{len(triplets)} at most, {request.output}, {request.size}x{request.size}",
        "Edits": f"{', '.join(kinds)}; seed {request.seed}",
    }
