"""What is declared of a setting, in one place: its description, range, choices and how the command line spells it.

A field is written in the annotation of a settings class:

    nfe: Annotated[int | None, Field("Budget of network evaluations per image.", ge=1)] = None

The command line's options, its `--help`, the reference of the manual and the checks are derived from this line.
Nothing here imports pydantic, so that `--help` starts fast; pydantic reads the ranges when it checks a value.
"""

import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from types import NoneType, UnionType
from typing import Any

UNLIMITED = 2**31
"""An upper end from here on protects the machine, and is of no interest to a reader."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is declared of a setting, besides its type and default.

    Attributes:
        description: one literal sentence for help, reference and API.
        ge, gt, le, lt: the range.
        min_length, max_length: the number of items of a list.
        flags: spellings on the command line, where they are not --name; an argument has none, see `argument`.
        aliases: further spellings that are accepted and not listed, such as those of diffusers' scripts.
        argument: whether the value is given by its position.
        metavar: what stands for the value in help, such as "FILE"; by default it follows from the type.
        panel: the section of help.
        unset: words for the default where that is None, such as "from the model's card". "auto" is accepted as a value.
        names: the kind of `options.names` that the value's name belongs to, such as "samplers".
        repeat: whether a list is given by repeating the option; otherwise its items are separated by commas.
        none: a word that stands for the empty list.
        excludes: names of fields that are mutually exclusive with this one.
        hidden: whether help leaves the option out.
    """

    description: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    flags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    argument: bool = False
    metavar: str = ""
    panel: str = ""
    unset: str = ""
    names: str = ""
    repeat: bool = False
    none: str = ""
    excludes: tuple[str, ...] = ()
    hidden: bool = False

    __is_annotated_types_grouped_metadata__ = True
    """pydantic takes an annotation with this mark for the constraints that it yields."""

    def __iter__(self) -> Iterator[Any]:
        import annotated_types

        kinds = {"ge": annotated_types.Ge, "gt": annotated_types.Gt, "le": annotated_types.Le, "lt": annotated_types.Lt}
        lengths = {"min_length": annotated_types.MinLen, "max_length": annotated_types.MaxLen}
        for name, kind in (kinds | lengths).items():
            if (bound := getattr(self, name)) is not None:
                yield kind(bound)

    @property
    def range(self) -> str:
        """The range in words, "" for none."""
        low = f"{self.ge:g}" if self.ge is not None else f"above {self.gt:g}" if self.gt is not None else ""
        high = _grouped(self.le) if self.le is not None else f"below {self.lt:g}" if self.lt is not None else ""
        if low and high and (self.le or 0) < UNLIMITED:
            return f"{low} to {high}"
        return f"at least {low}" if self.ge is not None else low or (f"at most {high}" if self.le is not None else high)


def _grouped(number: float) -> str:
    """Return a number with commas between thousands, a whole one without a point."""
    return f"{int(number) if number == int(number) else number:,}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One field of a settings class.

    Attributes:
        kind: its type, without None. choices: what may be given, of a Literal. many: whether it is a list.
        required: whether it must be given. sides: whether it is a size, a number or WIDTHxHEIGHT.
        several: the range of numbers of which one or several may be given, "" for other fields.
    """

    name: str
    field: Field
    kind: Any
    default: Any
    choices: tuple[str, ...] = ()
    many: bool = False
    required: bool = False
    sides: bool = False
    several: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Its spellings on the command line that help lists."""
        return self.field.flags or (f"--{self.name.rpartition('.')[2].replace('_', '-')}",)

    @property
    def flag(self) -> str:
        """What errors call it: an option's long spelling, an argument's place."""
        return self.field.metavar.strip("[].") if self.field.argument else max(self.flags, key=len)


def declared(cls: type[Any]) -> dict[str, Declared]:
    """Return the declared fields of a settings class by name, in order; those of a table are named "table.field"."""
    found: dict[str, Declared] = {}
    hints = typing.get_type_hints(cls, include_extras=True)
    for each in fields(cls):
        hint = hints[each.name]
        if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
            inner = [replace(option, name=f"{each.name}.{option.name}") for option in declared(hint).values()]
            found |= {option.name: option for option in inner}
            continue
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Field)]
        if not marks:
            continue
        kind, many = _plain(hint)
        choices = tuple(str(value) for value in typing.get_args(kind)) if _is_literal(kind) else ()
        required = each.default is MISSING and not marks[0].unset
        default = None if each.default is MISSING else each.default
        found[each.name] = Declared(
            each.name,
            marks[0],
            str if choices else kind,
            default,
            choices,
            many,
            required,
            _is_size(hint),
            _several(hint),
        )
    return found


def _plain(hint: Any) -> tuple[Any, bool]:
    """Return a type without its annotations, None and list, and whether it was a list."""
    hint = _bare(hint)
    if typing.get_origin(hint) in (typing.Union, UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not NoneType)
        return _plain(hint)
    if typing.get_origin(hint) is tuple:
        return _plain(typing.get_args(hint)[0])[0], True
    return hint, False


def sides_of(value: Any) -> Any:
    """Return a size as a setting holds it: a number for a square, else (width, height); other values unchanged."""
    if isinstance(value, str):
        parts = value.strip().lower().split("x")
        if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
            return value
        value = [int(part) for part in parts]
    if not isinstance(value, list | tuple) or not value:
        return value
    return value[0] if len(set(map(str, value))) == 1 and len(value) < 3 else tuple(value)


def _bare(hint: Any) -> Any:
    """Return a type without its annotations."""
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, and those of an annotated one; () for other types."""
    hint = _bare(hint)
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else ()


def _is_size(hint: Any) -> bool:
    kinds = _alternatives(hint)
    pairs = [kind for kind in kinds if typing.get_origin(kind) is tuple and Ellipsis not in typing.get_args(kind)]
    return bool(pairs) and len(kinds) > 1 and NoneType not in kinds


def _several(hint: Any) -> str:
    """Return the range of a number that may also be a list of numbers, "" for other types."""
    kinds = _alternatives(hint)
    if not any(Ellipsis in typing.get_args(_bare(kind)) for kind in kinds):
        return ""
    marks = (mark for kind in kinds for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Field))
    return next((mark.range for mark in marks), "")


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal
