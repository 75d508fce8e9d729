"""From what is given on the command line to a checked request; errors name the option as the user wrote it."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Declared, declared, sides_of
from ddbm_cli.foundation.settings import adapter
from ddbm_cli.options.names import check_name, check_spec, suggest

T = TypeVar("T")


AUTO = "auto"
"""The word for a default that the program chooses."""


def from_options(kind: type[T], given: Mapping[str, Any], *, command: str) -> T:
    """Return the request that a command's options stand for.

    Args:
        kind: the settings class of the request.
        given: values by field; a field that is a table has a mapping.
        command: its name, for hints.

    Raises:
        UsageError: a value is of another type, unknown or out of range, or two options are mutually exclusive.
    """
    import pydantic

    check(kind, given)
    sizes = [name for name, option in declared(kind).items() if option.sides and name in given]
    given = {**given, **{name: sides_of(given[name]) for name in sizes}}
    settings: Any = kind
    try:
        return cast(T, adapter(settings).validate_python(dict(given)))
    except pydantic.ValidationError as error:
        raise _explained(error.errors()[0], declared(kind), command) from None


def check(kind: type[Any], given: Mapping[str, Any]) -> None:
    """Check names, choices and mutually exclusive options, which needs neither pydantic nor all of the values.

    Raises:
        UsageError: a name is unknown, or two options are mutually exclusive.
    """
    options = declared(kind)
    _check_names(options, given)
    _check_exclusive(options, given)


def read(option: Declared, text: str) -> Any:
    """Return the value that a text on the command line stands for; None for the default.

    Lists are split at their commas. A text that is not the number it should be is left for the check to explain.
    """
    if text == option.field.unset == AUTO and option.default is None:
        return None
    if option.sides:
        return sides_of(text)
    if option.several and "," in text:
        return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if option.kind in (int, float) and not option.many:
        try:
            return option.kind(text)
        except ValueError:
            return text
    if not option.many or option.field.repeat:
        return text
    if option.field.none and text == option.field.none:
        return ()
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _flat(given: Mapping[str, Any], options: Mapping[str, Declared]) -> dict[str, Any]:
    """Return given values by the dotted names of their options."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in options and isinstance(value, Mapping):
            found |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            found[name] = value
    return {name: value for name, value in found.items() if name in options and value is not None}


def _check_names(options: Mapping[str, Declared], given: Mapping[str, Any]) -> None:
    for name, value in _flat(given, options).items():
        option = options[name]
        if option.many and isinstance(value, list | tuple):
            for word in value:
                _check_word(option, word)
        elif option.field.names and isinstance(value, str):
            kind = option.field.names
            (check_name if kind == "formats" else check_spec)(kind, value)
        elif option.choices:
            _check_word(option, value)


def _check_word(option: Declared, word: Any) -> None:
    """Check one word of an option that has choices."""
    if option.field.names and isinstance(word, str):
        check_name(option.field.names, word)
    elif option.choices and str(word) not in option.choices:
        more = (option.field.none,) if option.field.none else ()
        known = (*option.choices, *more)
        hint = f"{suggest(str(word), known)}choose {'from' if option.many else 'one of'}: {', '.join(known)}"
        raise UsageError(f"{option.flag} {word}: unknown value", hint=hint)


def _check_exclusive(options: Mapping[str, Declared], given: Mapping[str, Any]) -> None:
    flat = _flat(given, options)
    for name in flat:
        for other in options[name].field.excludes:
            if other in flat and flat[other] is not False and flat[name] is not False:
                flags = f"{options[other].flag} and {options[name].flag}"
                raise UsageError(f"{flags} are mutually exclusive", hint="pass one of them")


BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "above",
    "less_than_equal": "at most",
    "less_than": "below",
}
MOST_NUMBERS = 8
"""How many numbers an option takes that takes several."""

KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def _explained(first: Any, options: Mapping[str, Declared], command: str) -> UsageError:
    """Return what pydantic found wrong, in words about the option."""
    place = [str(part) for part in first["loc"] if not isinstance(part, int)]
    option = options.get(".".join(place[:2])) or options.get(place[0] if place else "")
    hint = f"see ddbm {command} --help"
    if option is None:
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            inner = [name.rpartition(".")[2] for name in options]
            return UsageError(
                f"unknown setting '{'.'.join(place)}'", hint=f"{suggest(place[-1] if place else '', inner)}{hint}"
            )
        return UsageError(f"{'.'.join(place) or 'settings'}: {first['msg']}", hint=hint)
    if first["type"] == "missing":
        return UsageError(f"{option.flag} is missing", hint=f"pass {option.flag}; {hint}")
    value = first["input"]
    shown = value if isinstance(value, str | int | float) else type(value).__name__
    if option.sides:
        shown = "x".join(map(str, value)) if isinstance(value, list | tuple) else shown
        hint = "pass a number, or WIDTHxHEIGHT such as 256x192; each from 8 to 4096"
        return UsageError(f"{option.flag} must be a size in pixels, not '{shown}'", hint=hint)
    if option.several:
        shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else shown
        hint = f"separate several by commas, at most {MOST_NUMBERS}; {hint}"
        return UsageError(f"{option.flag} must be numbers from {option.several}, not '{shown}'", hint=hint)
    kind = KINDS.get(option.kind)
    if first["type"] in BOUNDS:
        (bound,) = first["ctx"].values()
        limit = f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
        return UsageError(f"{option.flag} must be {BOUNDS[first['type']]} {limit}, not {shown}", hint=hint)
    if kind and first["type"] != "finite_number":
        return UsageError(f"{option.flag} must be {kind}, not '{shown}'", hint=hint)
    return UsageError(f"{option.flag} {shown}: {first['msg'][:1].lower()}{first['msg'][1:]}", hint=hint)
