"""Names of outputs: from a template, and never the same name twice."""

import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import FORMATS, format_of

FIELDS: Mapping[str, Any] = {
    "stem": "name",
    "ext": ".png",
    "parent": "folder",
    "seed": 0,
    "draw": 0,
    "model": "model",
    "nfe": 1,
    "sampler": "sampler",
}
"""What a template may hold, with examples by which it is checked."""

DRAWS = "{stem}_{draw:03d}{ext}"
"""The names of several draws of one input."""


class Named(NamedTuple):
    """An input, the number of one of its draws, and its output's path below the output folder."""

    name: Path
    draw: int
    output: Path


@dataclass(frozen=True)
class Naming:
    """How outputs are named.

    template: of the file's name, such as "{stem}_{seed}{ext}"; None for the input's name. values: of its fields.
    flatten: leave out the sub-folders of inputs. draws: numbers of the draws of each input.
    """

    template: str | None = None
    flatten: bool = False
    draws: Sequence[int] = (0,)
    values: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Check the template, before a model is loaded.

        Raises:
            UsageError: an unknown field, or no file name.
        """
        if self.template is None:
            return
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None]
            unknown = next((name for name in fields if name not in FIELDS), None)
            if unknown is not None:
                raise UsageError(f"--name: unknown field '{{{unknown}}}'", hint=f"choose from: {known}")
            made = string.Formatter().vformat(self.template, (), FIELDS)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise UsageError(f"--name {self.template}: {error}", hint="write such as {stem}_{seed:04d}{ext}") from None
        if "stem" not in fields or (len(self.draws) > 1 and "draw" not in fields):
            missing = "{draw}, since there are several draws" if "stem" in fields else "{stem}"
            raise UsageError(f"--name {self.template}: lacks {missing}", hint="write such as {stem}_{draw}{ext}")
        if re.search(r"[/\\\x00-\x1f\x7f]", self.template) or len(made) > 255 or made.startswith("."):
            raise UsageError(f"--name {self.template}: not a file name", hint="write such as {stem}_{seed}{ext}")

    def wanted(self, name: Path, draw: int, format: str | None) -> Path:
        """Return the name that an output gets unless it is taken."""
        plain = renamed(name, format)
        template = self.template or (None if tuple(self.draws) == (0,) else DRAWS)
        if template is not None:
            own = {"stem": plain.stem, "ext": plain.suffix, "parent": name.parent.name, "draw": draw}
            made = template.format_map({**FIELDS, **self.values, **own})
            made = re.sub(r"[/\\\x00-\x1f]", "-", made)
            plain = plain.with_name(made if format_of(Path(made)) else made + plain.suffix)
        return Path(plain.name) if self.flatten else plain

    def others(self, name: Path, draw: int, format: str | None) -> Iterator[Path]:
        """Yield what an output is named instead: a.jpg.png, ... for a.jpg; with `flatten` sub-a.png before."""
        wanted = self.wanted(name, draw, format)
        if self.flatten:
            yield wanted.with_name("-".join((*name.parent.parts, wanted.name)))
        stem = name.name if self.template is None and tuple(self.draws) == (0,) else wanted.stem + name.suffix
        yield wanted.with_name(f"{stem}{wanted.suffix}")
        number = 2
        while True:
            yield wanted.with_name(f"{stem}.{number}{wanted.suffix}")
            number += 1


def name_outputs(names: Sequence[Path], naming: Naming, format: str | None) -> list[Named]:
    """Name the outputs of all inputs and draws, so that no two are the same, also where upper case does not count.

    Where several want one name, the input that is named like the output keeps it, else the first.

    Args:
        names: paths below the input folder.
        format: one of FORMATS for all outputs, None for that of the input.
    """
    every = [(name, draw) for name in names for draw in naming.draws]
    wanted: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for name, draw in every:
        wanted[_key(naming.wanted(name, draw, format))].append((name, draw))
    given: dict[tuple[Path, int], Path] = {}
    for target, rivals in wanted.items():
        owner = next((each for each in rivals if _key(each[0]) == target), rivals[0])
        given[owner] = naming.wanted(*owner, format)
    taken = set(wanted)
    for each in every:
        if each not in given:
            given[each] = next(free for free in naming.others(*each, format) if _key(free) not in taken)
            taken.add(_key(given[each]))
    return [Named(name, draw, given[name, draw]) for name, draw in every]


def renamed(name: Path, format: str | None) -> Path:
    """Return a file's name with the extension of its output: its own where that can be written, else png."""
    if format_of(name) is not None and format in (None, format_of(name)):
        return name
    return name.with_suffix(f".{format or 'png'}")


def check_format(format: str | None) -> None:
    """Check a format's name.

    Raises:
        UsageError: it cannot be written.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format '{format}'", hint=f"choose one of: {', '.join(FORMATS)}")


def _key(name: Path) -> str:
    return unicodedata.normalize("NFC", name.as_posix()).casefold()
