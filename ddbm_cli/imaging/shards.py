"""WebDataset shards: uncompressed tar files; members of one name, but for what follows its first dot, are a sample.

A pair is KEY.source.png and KEY.target.png, or other names of the sides in `layouts.SIDES`; KEY.cls holds its class and
KEY.txt its caption. A sample with one image is a target, or shows both sides next to each other. Nothing is unpacked:
members are read where they lie, so that names with .. or links lead nowhere, and memory does not grow with the shards.
"""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.io import IMAGE_EXTENSIONS
from ddbm_cli.imaging.layouts import HELD_OUT, PROBED, SIDES, TRAIN, is_double
from ddbm_cli.imaging.lists import Row
from ddbm_cli.imaging.stored import Slice, size_of
from ddbm_cli.imaging.walk import Problem

MOST_READ = 2**20
"""Bytes that are read at once while a shard is searched: headers and texts are shorter."""

MOST_TEXT = 2**16
"""Bytes of a class or a caption, at most."""

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_HINT = "name the images of a pair KEY.source.png and KEY.target.png"


@dataclass
class Sample:
    """The members of one key: images by the word between key and extension, "" for none; class and caption."""

    images: dict[str, Slice] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def shards_of(root: Path) -> list[tuple[Path, str]]:
    """Return the shards of a path with their splits, "" where the name does not say; [] where there are none.

    Raises:
        UsageError: they are compressed.
    """
    files = [root] if root.is_file() else [file for part in ("", *TRAIN, *HELD_OUT) for file in _files(root / part)]
    for file in files:
        if file.name.lower().endswith(COMPRESSED):
            hint = "decompress it first, such as with gunzip: shards are read where they lie"
            raise UsageError(f"{file}: a compressed tar file", hint=hint)
    return [(file, split_in_name(file, root)) for file in files if file.suffix.lower() == ".tar"]


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return []
    return [file for file in found if file.name.lower().endswith((".tar", *COMPRESSED)) and file.is_file()]


def split_in_name(file: Path, root: Path) -> str:
    """Return the split that a file's folder or the beginning of its name tells, "" for none."""
    below = [] if file == root or file.parent == root else [file.parent.name.lower()]
    word = file.stem.lower().replace("_", "-").replace(".", "-").partition("-")[0]
    return next((each for each in (*below, word) if each in (*TRAIN, *HELD_OUT)), "")


def rows_of_shard(file: Path, *, targets_only: bool, split: str) -> tuple[list[Row], int, list[Problem]]:
    """Return the pairs of a shard, the number of samples without one, and where it is damaged.

    Raises:
        UsageError: it is no tar file, or its samples are of another kind.
    """
    samples, problems = _samples(file)
    rows = []
    kinds: dict[str, None] = {}
    for key, sample in samples.items():
        kinds |= dict.fromkeys(sample.images)
        sides = _sides(sample.images, targets_only=targets_only)
        if sides:
            rows.append(Row(key, *sides, sample.texts.get("cls", ""), sample.texts.get("txt", ""), split))
    alone = [(key, sample) for key, sample in samples.items() if len(sample.images) == 1]
    if not rows and not targets_only and alone and all(_is_double(each) for _, each in alone[:PROBED]):
        for key, sample in alone:
            (image,) = sample.images.values()
            texts = sample.texts
            rows.append(Row(key, image, image, texts.get("cls", ""), texts.get("txt", ""), split, True))
    if not rows:
        found = ", ".join(kind or "one image" for kind in list(kinds)[:8]) or "no images"
        raise UsageError(f"{file}: no pairs in this shard; its samples have: {found}", hint=_HINT)
    return rows, len(samples) - len(rows), problems


def _sides(images: Mapping[str, Slice], *, targets_only: bool) -> tuple[Slice | None, Slice] | None:
    for source, target in SIDES:
        if target in images and (source in images or targets_only):
            return None if targets_only else images[source], images[target]
    if targets_only and images:
        return None, images.get("") or next(iter(images.values()))
    return None


def _is_double(sample: Sample) -> bool:
    (image,) = sample.images.values()
    try:
        return is_double(size_of(image))
    except ImageError:
        return True  # a damaged image tells nothing of the others


def _samples(file: Path) -> tuple[dict[str, Sample], list[Problem]]:
    """Return the samples of a shard by key, and where it is damaged."""
    found: dict[str, Sample] = {}
    problems: list[Problem] = []
    length = file.stat().st_size
    try:
        with file.open("rb") as body, tarfile.open(fileobj=cast(BinaryIO, _Bounded(body)), mode="r:") as shard:
            for member in shard:
                cast(Any, shard).members = []  # the list would grow with the shard
                key, word, extension = _parts(member.name)
                if not member.isreg() or member.issparse() or not key:
                    continue
                place = Slice(file, member.name, member.size, member.offset_data)
                if member.offset_data + member.size > length:
                    raise tarfile.ReadError("it is cut off")
                if f".{extension}" in IMAGE_EXTENSIONS:
                    found.setdefault(key, Sample()).images[word] = place
                elif extension in ("cls", "txt") and member.size <= MOST_TEXT:
                    text = place.read().decode("utf-8", "replace").strip()
                    found.setdefault(key, Sample()).texts[extension] = text
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError, ImageError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if not found:
            raise UsageError(f"{file}: not a tar file ({reason})", hint="pass an uncompressed tar file") from None
        problems.append(Problem(file, f"{file}: damaged after {len(found)} samples ({reason})", "download it again"))
    return found, problems


def _parts(name: str) -> tuple[str, str, str]:
    """Return key, word and extension of a member: a/1.source.png is (a/1, source, png); ("", ...) for hidden ones."""
    path = PurePosixPath(name)
    base, dot, rest = path.name.partition(".")
    word, _, extension = rest.lower().rpartition(".")
    if not base or not dot:
        return "", "", ""
    return str(path.parent / base).removeprefix("./"), word, extension


class _Bounded:
    """A file for `tarfile` that never reads much at once, whatever a header declares."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_READ:
            raise tarfile.ReadError("a header of this size is not read")
        return self._file.read(size)

    def seek(self, *place: int) -> int:
        return self._file.seek(*place)

    def tell(self) -> int:
        return self._file.tell()
