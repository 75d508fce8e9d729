"""Check training data: what would be trained on, and what in it is broken, doubtful or unusual."""

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import DdbmError, ImageError, UsageError
from ddbm_cli.foundation.events import Diagnosed, Measured
from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.lists import is_list
from ddbm_cli.imaging.pairs import Pair, PairSplit, find_pairs
from ddbm_cli.imaging.prepare import Looks, fit_of, looks_of
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.options.data import CheckRequest
from ddbm_cli.tasks.doubts import EXCHANGED, doubts_of, swapped
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written

THREADS = max(2, min(8, os.cpu_count() or 2))

NAMED = 3
"""Pairs that are named per finding, at most."""


@dataclass(frozen=True)
class Seen:
    """A pair that can be used, and what it looks like. held_out: it is not trained on."""

    pair: Pair
    looks: Looks
    held_out: bool


def run(request: CheckRequest) -> Iterator[Event | Diagnosed | Measured]:
    """Read every image; yields one `Failed` per pair that cannot be used, then one `Diagnosed` per check.

    Raises:
        UsageError: there are no pairs, their layout is unknown, or the list cannot be written.
    """
    began = time.monotonic()
    if request.fix:
        _check_output(request.fix, overwrite=request.overwrite)
    split = find_pairs(
        request.data,
        val_share=request.val_share,
        targets_only=request.prior or request.source is not None,
        swap=request.direction == "BtoA",
        exclude=(request.fix,) if request.fix else (),
    )
    preprocess = Preprocess(size=request.size, fit=request.fit or fit_of(split.train))
    pairs = [*split.train, *split.val]
    yield Planned(total=len(pairs), facts={"Folders": "; ".join(split.folders)})
    seen: list[Seen] = []
    failed = 0
    with ThreadPoolExecutor(THREADS, "check") as threads:
        try:
            found = threads.map(lambda pair: _attempt(pair, preprocess), pairs)
            for index, (pair, result) in enumerate(zip(pairs, found, strict=True)):
                if isinstance(result, ImageError):
                    failed += 1
                    yield Failed(source=Path(str(pair.target)), message=result.message, hint=result.hint)
                else:
                    seen.append(Seen(pair, result, index >= len(split.train)))
                    yield Measured(images=1)
        finally:
            threads.shutdown(cancel_futures=True)
    bad = doubts_of(seen)
    yield from _findings(request, split, preprocess, seen, failed)
    for name, found_by in bad.items():
        yield Diagnosed(
            name=name,
            ok=not found_by.names,
            found=f"{_named(found_by.names)}" if found_by.names else found_by.none,
            hint=found_by.hint,
            severity="warning",
        )
    if request.fix:
        left_out = {name for each in bad.values() if each.drops for name in each.pairs}
        yield _write_list(request.fix, [each for index, each in enumerate(seen) if index not in left_out])
    yield Finished(written=len(seen), kept=0, failed=failed, seconds=time.monotonic() - began, word="usable")
    if not seen:
        raise DdbmError("no pair can be used", hint="see the errors above")


def _attempt(pair: Pair, preprocess: Preprocess) -> Looks | ImageError:
    try:
        return looks_of(pair, preprocess)
    except ImageError as error:
        return error


def _findings(
    request: CheckRequest, split: PairSplit, preprocess: Preprocess, seen: Sequence[Seen], failed: int
) -> Iterator[Diagnosed]:
    """Yield what is known of the data as a whole."""
    alone = request.prior or request.source is not None
    what = "images" if alone else "pairs"

    def said(name: str, found: str, *, ok: bool = True, hint: str = "") -> Diagnosed:
        return Diagnosed(name=name, ok=ok, found=found, hint=hint, severity="warning")

    yield said("Layout", "; ".join(split.folders))
    out = f"{len(split.val)} held out"
    yield said(
        "Pairs" if what == "pairs" else "Images",
        f"{len(split.train)} {what} to train on, {out}",
        ok=bool(split.val),
        hint="; ".join(split.notes) or "pass --val-share 0.05, so that there is a validation",
    )
    if not alone:
        names = [path.name for path in split.unpaired]
        yield said(
            "Unpaired",
            _named(names) if names else "none",
            ok=not names,
            hint="give both images of a pair the same name, such as A/1.png and B/1.png",
        )
    yield said(
        "Readable",
        f"{failed} of {failed + len(seen)} {what} cannot be used" if failed else f"all {len(seen)} {what}",
        ok=not failed,
        hint="see the errors; ddbm train skips them",
    )
    if split.broken:
        hint = split.broken[0].hint
        yield said("Missing", _named([each.message for each in split.broken]), ok=False, hint=hint)
    if split.skipped:
        yield said("Left out", str(split.skipped))
    if seen:
        yield _sizes(request, preprocess, seen)
        yield said("Files", _kinds(seen))
        if captions := sum(bool(each.pair.caption) for each in seen):
            yield said("Captions", f"{captions} of {len(seen)}; used by --text captions and --task instruct")
        if alone:
            return
        styles = ((each.looks.source, each.looks.target) for each in seen)
        turned = swapped([(source.style[0], target.style[0]) for source, target in styles if source])
        hint = f"{EXCHANGED} to ddbm train"
        yield said("Direction", turned or "source -> target, as specified", ok=not turned, hint=hint)


def _sizes(request: CheckRequest, preprocess: Preprocess, seen: Sequence[Seen]) -> Diagnosed:
    sizes = Counter(each.looks.target.size for each in seen)
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    across, down = preprocess.width, preprocess.height
    small = sum(count for (width, height), count in sizes.items() if width < across or height < down)
    span = " to ".join("x".join(map(str, size)) for size in dict.fromkeys((ordered[0], ordered[-1])))
    words = f"{span} pixels, {len(sizes)} size{'s' if len(sizes) > 1 else ''}"
    other = sum(count for size, count in sizes.items() if not preprocess.has_proportions_of(size))
    if other:
        how = {"crop": "are cropped to their middle", "pad": "get white borders", "stretch": "are stretched"}
        words += f"; {other} of other proportions than {preprocess.words} {how[preprocess.fit]}"
    if small:
        words += f"; {small} are enlarged to {preprocess.words}"
    return Diagnosed(
        name="Sizes", ok=not small, found=words, hint="use larger images, or a smaller --size", severity="warning"
    )


def _kinds(seen: Sequence[Seen]) -> str:
    """Return the counts of unusual files, in words."""
    kinds = Counter(kind for each in seen for one in each.looks.both for kind in one.kinds)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing unusual"


def _named(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} ({', '.join(names[:NAMED])}{more})"


def _check_output(file: Path, *, overwrite: bool) -> None:
    if not is_list(file) or file.suffix.lower() != ".csv":
        raise UsageError(f"{file}: --fix writes a csv file", hint="name it, such as pairs.csv")
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists already", hint="choose another file, or pass --overwrite")


def _write_list(file: Path, seen: Sequence[Seen]) -> Written:
    """Write the list of the pairs that can be used.

    Raises:
        UsageError: a list cannot hold them, or it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    columns = ["target"] if all(each.pair.source is None for each in seen) else ["source", "target"]
    writer.writerow([*columns, "class", "caption", "split"])
    is_split = any(each.held_out for each in seen)  # otherwise ddbm train decides what is held out
    for each in seen:
        pair = each.pair
        if pair.side_by_side:
            raise UsageError("a list cannot hold side-by-side images", hint="leave out --fix")
        paths = [path for path in (pair.source, pair.target) if isinstance(path, Path)]
        if len(paths) != len(columns):
            raise UsageError("a list cannot hold images inside of other files", hint="leave out --fix")
        own = [_relative(path, file) for path in paths]
        split = ("val" if each.held_out else "train") if is_split else ""
        writer.writerow([*own, pair.class_name, pair.caption, split])
    try:
        write_text(file, table.getvalue())
    except UnicodeEncodeError:
        raise UsageError("a file name is not UTF-8, and a list cannot hold it", hint="rename the file") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be written ({error.strerror})", hint="choose another file") from None
    return Written(source=file.parent, output=file, record={"pairs": len(seen)})


def _relative(path: Path, file: Path) -> str:
    whole, folder = path.absolute(), file.absolute().parent
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)
