"""The names that registries hold, with one-line descriptions and their fields, without importing torch.

`names.json` is generated from the registries by `python -m ddbm_cli.cli.generate`; a test compares the two.
Names that it lacks are looked up among the entry points of installed packages, see `foundation.plugins`.
"""

from functools import cache
from pathlib import Path
from typing import Any

from ddbm_cli.foundation import plugins
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.renamed import current_fields, current_name
from ddbm_cli.foundation.settings import split_spec

FILE = Path(__file__).with_name("names.json")

SINGULAR = {
    "samplers": "sampler",
    "grids": "grid",
    "paths": "path",
    "predictions": "prediction",
    "networks": "network",
    "times": "time distribution",
    "objectives": "objective",
    "methods": "method",
    "couplings": "coupling",
    "metrics": "metric",
    "formats": "format",
    "augmentations": "augmentation",
    "perturbations": "perturbation",
    "colour_spaces": "colour space",
}
"""The kinds of names, and what one of each is called."""


@cache
def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = parse_json(FILE.read_bytes())
    return found


def names(kind: str) -> dict[str, str]:
    """Return the names of a kind, such as "samplers", each with a one-line description."""
    # A kind that is new in the code is not in the table before that is generated.
    return {name: entry["description"] for name, entry in _table().get(kind, {}).items()}


def aliases(kind: str) -> dict[str, str]:
    """Return the aliases of a kind: name -> the shell form that it stands for."""
    return dict(_table()["aliases"].get(kind, {}))


def fields(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a setting as JSON schemas: {"churn": {"type": "number", "minimum": 0, ...}}."""
    return dict(_table()[kind][name].get("fields", {}))


def suggest(word: str, known: Any) -> str:
    """Return "did you mean 'x'? " for the known word nearest to `word`, "" where none is near."""
    import difflib

    named = list(known)
    lead = named[0].partition(":")[0] + ":" if named else ""  # "degrade:foo" resembles no name that starts with it
    ends = {name.removeprefix(lead): name for name in named}
    found = difflib.get_close_matches(word.lower().removeprefix(lead), ends, n=1)
    near = [ends[end] for end in found]
    return f"did you mean '{near[0]}'? " if near else ""


def check_name(kind: str, word: str) -> None:
    """Check that a name is in a registry or comes from an installed package.

    Raises:
        UsageError: it is in neither.
    """
    known = [*names(kind), *aliases(kind)]
    if word in known or current_name(word) in known or plugins.exists(kind, word):
        return
    hint = f"{suggest(word, known)}choose one of: {', '.join(known)}"
    raise UsageError(f"unknown {SINGULAR[kind]} '{word}'", hint=hint)


def check_spec(kind: str, spec: str) -> None:
    """Check the name, the fields and the ranges of a shell form, such as "heun:churn=0.33".

    Raises:
        UsageError: one of them is wrong.
    """
    word, given = split_spec(spec)
    check_name(kind, word)
    full, more = split_spec(aliases(kind).get(word, word))
    name = current_name(full)
    if name not in _table()[kind]:
        if name in aliases(kind) and given:
            raise UsageError(f"{SINGULAR[kind]} '{name}' takes no fields", hint=f"write {name} alone")
        return  # of an installed package, which checks it when it is made
    known = fields(kind, name)
    for field, value in current_fields(name, more | given).items():
        if field not in known:
            takes = f"its fields: {', '.join(known)}" if known else f"'{word}' takes no fields"
            near = suggest(field, known)
            raise UsageError(f"{SINGULAR[kind]} '{word}' has no field '{field}'", hint=f"{near}{takes}")
        if isinstance(value, str):  # values in JSON are checked when the setting is made
            _check_value(f"{SINGULAR[kind]} '{word}': {field}", value, known[field])


def _check_value(place: str, value: Any, schema: dict[str, Any]) -> None:
    """Check a number against its schema; what is no number is checked when the setting is made."""
    kinds = [schema, *schema.get("anyOf", ())]
    number = next((each for each in kinds if each.get("type") in ("number", "integer")), None)
    choices = schema.get("enum")
    if choices and value not in choices:
        raise UsageError(f"{place} = '{value}' does not fit", hint=f"choose one of: {', '.join(map(str, choices))}")
    if number is None:
        return
    try:
        found = float(value)
    except ValueError:
        raise UsageError(f"{place} = '{value}' does not fit", hint="pass a number") from None
    low, above = number.get("minimum"), number.get("exclusiveMinimum")
    high, below = number.get("maximum"), number.get("exclusiveMaximum")
    bounds = {
        f"at least {low}": low is None or found >= low,
        f"above {above}": above is None or found > above,
        f"at most {high}": high is None or found <= high,
        f"below {below}": below is None or found < below,
        "a finite number": abs(found) != float("inf") and found == found,
        "a whole number": number["type"] != "integer" or found == int(found),
    }
    wrong = next((words for words, holds in bounds.items() if not holds), None)
    if wrong:
        raise UsageError(f"{place} = '{value}' does not fit", hint=f"it must be {wrong}")
