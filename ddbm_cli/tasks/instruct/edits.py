"""Triplets from edits of images: ten kinds of edits, and images of one object in several skin tones."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.edits import EDITS, LEAST_CHANGE, SKIN, Drawing, Edited
from ddbm_cli.imaging.io import opened, reduced
from ddbm_cli.options.data import InstructRequest
from ddbm_cli.tasks.events import Event, Noticed, Planned
from ddbm_cli.tasks.images_in import images_in, random_of, splits_of, table_by_file
from ddbm_cli.tasks.instruct.triplets import Triplets

SIZE = 64
"""Pixels along each side, where none are given."""

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


def edited(request: InstructRequest, triplets: Triplets) -> Iterator[Event]:
    """Edit all images of a folder; yields what happens. A bad image is skipped and reported.

    Raises:
        UsageError: there is nothing to edit, or the folders or tables cannot be used.
    """
    listing = images_in(request.pictures, request.output, recursive=request.recursive)
    images = {image.relative_to(request.pictures).as_posix(): image for image in listing.stems().values()}
    splits = splits_of(request.split_by) if request.split_by else dict.fromkeys(images, "")
    failures = [triplets.fail(each.path, ImageError(each.message, hint=each.hint)) for each in listing.problems]
    for name in sorted(set(images) - set(splits)):
        error = ImageError(f"{images[name]}: not in {request.split_by}", hint="add a line for it, with its split")
        failures.append(triplets.fail(images[name], error))
    images = {name: image for name, image in images.items() if name in splits}
    groups = [
        *(_edits_of(request, name, image, splits[name]) for name, image in images.items()),
        _variants_of(request.variants, images, splits) if request.variants else [],
    ]
    every = [triplet for group in groups for triplet in group]
    yield Planned(total=len(every) + len(failures), facts=_facts(request, len(images), every))
    yield from failures
    unchanged = 0
    for triplet in [] if request.dry_run else every:
        try:
            pair = _made(request, triplet)
            if pair is None:
                unchanged += 1
                continue
            yield from triplets.keep(triplet.name, triplet.picture, pair.pictures)
        except ImageError as error:
            yield triplets.fail(triplet.picture, error)
            continue
        edit = f"{triplet.edit}:{pair.value}" if pair.value else triplet.edit
        triplets.list(triplet.name, caption=_instruction(request, triplet, pair.value), edit=edit, split=triplet.split)
    if unchanged:
        yield Noticed(message=f"{unchanged} edits left out: they change less than {LEAST_CHANGE:.0%} of the image")


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
    size = request.size or SIZE
    with opened(triplet.picture) as found:
        drawing = Drawing.of(reduced(found), size)
    if triplet.target is None:
        edited = EDITS[triplet.edit].apply(drawing, random_of(request.seed, triplet.name, "edit"))
    else:
        with opened(triplet.target) as found:
            target = Drawing.of(reduced(found), size).colours
        edited = Edited(drawing.colours, target, triplet.value)
    if edited.change(drawing) < LEAST_CHANGE:
        return None
    return edited


def _instruction(request: InstructRequest, triplet: _Triplet, value: str) -> str:
    sentences = EDITS[triplet.edit].instructions if triplet.target is None else SKIN
    return str(random_of(request.seed, triplet.name, "words").choice(sentences)).format(value=value)


def _facts(request: InstructRequest, count: int, triplets: list[_Triplet]) -> dict[str, str]:
    kinds, size = sorted({triplet.edit for triplet in triplets}), request.size or SIZE
    return {
        "Images": f"{count} of {request.pictures}",
        "Pairs": f"{len(triplets)} at most, {request.output}, {size}x{size}",
        "Edits": f"{', '.join(kinds)}; seed {request.seed}",
    }
