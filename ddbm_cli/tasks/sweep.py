"""Translate with several values of one or two options, each combination into a folder of its own, and one sheet."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_text
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.io import format_of, open_picture, reduced
from ddbm_cli.imaging.sheet import Picture, labelled_sheet, within, words_sheet
from ddbm_cli.methods import method_of
from ddbm_cli.models import TranslationModel
from ddbm_cli.options.sweep import Axes, spelled
from ddbm_cli.registry.events import Locating
from ddbm_cli.tasks.events import Event, Kept, Written
from ddbm_cli.tasks.making import is_pipe
from ddbm_cli.tasks.overview import SHEET_SOURCES, write_sheet
from ddbm_cli.tasks.request import TranslateRequest, check_budget, request
from ddbm_cli.tasks.scores import of_edits
from ddbm_cli.tasks.show import prompt_of
from ddbm_cli.tasks.trajectory import check_replaceable
from ddbm_cli.tasks.translate import load, run

Values = tuple[Any, ...]
"""A value of each option that is varied."""

SHEET = "sweep.png"
"""The sheet of a sweep in its output folder, where --sheet names no other."""

TABLE = "sweep.csv"
"""The means of each combination, where images have prompts."""

COLUMNS = ("images", "similarity", "understood", "agreement")
"""Of the table, after those of the options; CLIP's follow where it is in the cache of Hugging Face."""


def sweep(asked: TranslateRequest, strengths: Sequence[float]) -> Iterator[Event]:
    """Translate at each strength in turn, each into a folder of its own, such as OUTPUT/strength-0_6.

    Raises:
        UsageError: as `translate.run`; or the output is not a folder.
    """
    each = _requests(asked, {"strength": tuple(strengths)}).values()
    assert asked.output is not None, "checked with the requests"
    model = yield from _load(each)
    for one in each:
        yield from run(one, model=model, exclude=(asked.output,))


def grid(asked: TranslateRequest, axes: Axes) -> Iterator[Event]:
    """Translate with every combination of values, and write a sheet of all of them.

    Args:
        asked: what to do, with every other option. axes: as of `options.sweep`.

    Raises:
        UsageError: as `sweep`.
    """
    each = _requests(asked, axes, sheet=False)
    assert asked.output is not None, "checked with the requests"
    file = asked.sheet or asked.output / SHEET
    check_replaceable([file], overwrite=asked.overwrite)
    _check_own(asked.output / TABLE, overwrite=asked.overwrite)
    made: dict[Values, dict[Path, Path]] = {values: {} for values in each}
    texts: dict[Values, dict[Path, str]] = {values: {} for values in each}
    model = yield from _load(each.values())
    for values, one in each.items():
        for event in run(one, model=model, exclude=(asked.output,)):
            if isinstance(event, Written | Kept):
                made[values].setdefault(event.source, event.output)
                if prompt := prompt_of(event.output):
                    texts[values][event.output] = prompt
            yield event
    if any(made.values()):
        write_sheet(file, sheet_of(list(axes), made))
        if rows := [row for values, prompts in texts.items() if (row := measured(axes, values, made[values], prompts))]:
            write_text(asked.output / TABLE, as_csv(rows))


def measured(axes: Axes, values: Values, outputs: Mapping[Path, Path], prompts: Mapping[Path, str]) -> dict[str, Any]:
    """Return the means over the outputs of one combination: similarity to the source, agreement with the instruction.

    The figures are those of a comparison, `metrics.instructions`; an agreement is of those images that have one.

    Args:
        outputs: by source. prompts: of the outputs that have one.

    Returns:
        {} where no output has a prompt.
    """
    names = {str(source): output for source, output in outputs.items() if output in prompts}
    texts = {name: prompts[output] for name, output in names.items()}
    scores = {
        label.lower().replace(" ", "-"): list(found.values())
        for label, found in of_edits(names, {str(source): source for source in outputs}, texts).items()
    }
    if not scores or not scores["similarity"]:
        return {}
    alike, known = scores.pop("similarity"), scores.pop("agreement")
    return {
        **dict(zip(map(spelled, axes), values, strict=True)),
        **dict(zip(COLUMNS, (len(alike), _mean(alike), len(known), _mean(known)), strict=True)),
        **{name: _mean(found) for name, found in scores.items()},
    }


def _mean(values: Sequence[float]) -> float | str:
    return round(sum(values) / len(values), 4) if values else ""


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as a table."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


def sheet_of(names: Sequence[str], made: Mapping[Values, Mapping[Path, Path]]) -> Picture:
    """Return a sheet: for each source a row for each value of the first option, and a column for each of the second.

    Args:
        names: the options. made: by their values, the first output of each source.
    """
    rows = list(dict.fromkeys(values[0] for values in made))
    across = list(dict.fromkeys(values[1:] for values in made))
    labels = [f"{spelled(names[1])} {_number(rest[0])}" if rest else "result" for rest in across]
    columns: dict[str, list[Picture | None]] = {name: [] for name in ("", "source", *labels)}
    for source in list(dict.fromkeys(source for outputs in made.values() for source in outputs))[:SHEET_SOURCES]:
        for number, value in enumerate(rows):
            columns[""].append(words_sheet(f"{spelled(names[0])} {_number(value)}"))
            columns["source"].append(_shown(source) if number == 0 else None)
            for label, rest in zip(labels, across, strict=True):
                columns[label].append(_shown(made[value, *rest].get(source)))
    return labelled_sheet(columns)


def _check_own(table: Path, *, overwrite: bool) -> None:
    """Raise a UsageError if a table exists that this task did not write."""
    hint = "choose another output folder, or pass --overwrite"
    if table.exists() and not overwrite and COLUMNS[1] not in read_text(table, hint=hint).partition("\n")[0]:
        raise UsageError(f"{table}: exists and is not the table of a sweep", hint=hint)


def _shown(file: Path | None) -> Picture | None:
    """Return an image at the size of a sheet, None where there is none."""
    if file is None:
        return None
    try:
        return within(reduced(open_picture(file)))
    except ImageError:
        return None


def _requests(asked: TranslateRequest, axes: Axes, *, sheet: bool = True) -> dict[Values, TranslateRequest]:
    """Return the request of each combination of values. sheet: with a sheet of its own."""
    output = asked.output
    if output is None or is_pipe(output) or format_of(output) or output.is_file():
        what = "strengths" if list(axes) == ["strength"] else "values"
        raise UsageError(f"several {what} make several images of each input", hint="pass a folder as the output")
    given = {field.name: getattr(asked, field.name) for field in fields(asked)}
    found = {}
    for values in itertools.product(*axes.values()):
        words = (f"{spelled(name)}-{_number(value)}" for name, value in zip(axes, values, strict=True))
        name = "-".join(words).replace(".", "_")  # a dot begins a suffix
        own = dict(zip(axes, values, strict=True)) | {"output": output / name} | _apart(asked, name, sheet=sheet)
        found[values] = request(**given | own)
    return found


def _load(each: Collection[TranslateRequest]) -> Locating[TranslationModel]:
    """Return the one model of several requests, all of which are checked first; yield the events of loading."""
    for one in each:
        method_of(one)
        check_budget(one)
    return (yield from load(next(iter(each))))


def _apart(asked: TranslateRequest, name: str, *, sheet: bool) -> dict[str, Path | None]:
    """Return the further outputs of one combination, so that those of several do not replace each other."""
    apart: dict[str, Path | None] = {}
    if asked.sheet is not None:
        apart["sheet"] = asked.sheet.with_stem(f"{asked.sheet.stem}-{name}") if sheet else None
    if asked.steps_dir is not None:
        apart["steps_dir"] = asked.steps_dir / name
    return apart


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
