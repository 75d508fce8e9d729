"""Lists of captions before and after an edit, with the instruction of the edit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_text
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.hashing import number_of
from ddbm_cli.foundation.text import printable
from ddbm_cli.imaging.lists import LARGEST_LIST, is_list, lines_of, split_of

BEFORE = ("before", "input", "original_prompt")
EDIT = ("instruction", "edit", "edit_prompt")
AFTER = ("after", "output", "edited_prompt")
"""Names of the columns; the second ones are those of InstructPix2Pix's own list, the third those of its data set."""

ALONE = ("caption", "text", "prompt")
"""Names of the column of captions where an endpoint is asked for the edits."""

LONGEST = 500
"""Characters of a text, at most; text encoders take about 75 tokens."""

HELD_OUT = 0.05
"""Fraction of the captions that are held out, all images of a caption together."""

FORM = '{"input": "a photo of a cat", "edit": "make it a dog", "output": "a photo of a dog"}'


class CaptionError(DdbmError):
    """One caption cannot be used; it is skipped and reported."""

    exit_code = 3


@dataclass(frozen=True)
class Caption:
    """The caption of an image, an edit, and the caption after it; `edit` and `after` are "" where they are not known.

    split: train or val.
    """

    before: str
    edit: str = ""
    after: str = ""
    split: str = ""

    def name(self, *more: object) -> str:
        """Return a name for files, which depends on the texts and on `more`."""
        words = re.sub(r"[^a-z0-9]+", "-", self.before.lower())[:40].strip("-") or "caption"
        return f"{words}-{number_of(repr((self.before, self.edit, self.after, *more))):016x}"


def read_captions(file: Path, *, ask: bool) -> tuple[list[Caption], list[CaptionError]]:
    """Return the captions of a list, each once, and what is wrong with the other lines.

    Args:
        file: CSV, TSV, JSON or JSON Lines, or another text with one caption per line.
        ask: captions without an edit are used too.

    Raises:
        UsageError: it cannot be read, or no caption in it can be used.
    """
    rows: list[tuple[int, Mapping[str, Any]]]
    if is_list(file):
        rows = list(lines_of(file))
    else:
        text = read_text(file, hint="pass a list of captions", limit=LARGEST_LIST)
        rows = [(number, {"caption": line}) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found: dict[Caption, None] = {}
    problems = []
    for number, row in rows:
        try:
            found[_of_row(row, ask=ask)] = None
        except ValueError as error:
            hint = "write such as: a photo of a cat" if ask else f"write such as {FORM}; or add --endpoint URL"
            problems.append(CaptionError(f"{file}, line {number}: {error}", hint=hint))
    if not found:
        first = problems[0] if problems else CaptionError(f"{file}: no captions in it", hint=f"write such as {FORM}")
        raise UsageError(first.message, hint=first.hint)
    return list(found), problems


def text_of(value: Any) -> str:
    """Return a text as it is used: on one line, without white space at its ends.

    Raises:
        ValueError: it is no text, empty, too long, or has characters that are not printable.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text is missing")
    text = " ".join(value.split())
    if len(text) > LONGEST:
        raise ValueError(f"a text of more than {LONGEST} characters")
    if printable(text) != text or any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("a text with control characters")
    return text


def _of_row(row: Mapping[str, Any], *, ask: bool) -> Caption:
    """Return the caption of one line.

    Raises:
        ValueError: it is no such line.
    """
    plain = {key.strip().lower(): value for key, value in row.items() if isinstance(key, str)}
    before, edit, after = (_first(plain, names) for names in ((*BEFORE, *ALONE), EDIT, AFTER))
    split = plain.get("split") or ""
    if split and (not isinstance(split, str) or split_of(split) is None):
        raise ValueError("an unknown split")
    before = text_of(before)
    if not split:
        split = "val" if number_of(f"split\n{before}") < HELD_OUT * 2**64 else "train"
    if edit is None and after is None and ask:
        return Caption(before, split=split)
    if edit is None or after is None:
        raise ValueError(f"no {'edit' if edit is None else 'caption after it'}")
    return Caption(before, text_of(edit), text_of(after), split)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return the value of the first column that is there, None for none."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
