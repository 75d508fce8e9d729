"""Methods of a comparison in their command-line form: a name, fields, and a budget.

heun                          a sampler, with the model's default budget
heun:churn=0.33,nfe=119       the sampler's fields, and a number of network evaluations
dbim:5,10,20                  bare numbers are budgets: three methods
dbim-2:model=my.safetensors   another model
default                       the sampler and budget of the model card
fast                          the version of the model that was distilled to few evaluations
sdedit:0.2,0.4                SDEdit with the built-in prior; bare numbers are strengths
ddib:20,source=a,model=b      DDIB with two priors, of the sources and of the targets
dbim:10,class=cat,guidance_scale=3    a class, and a guidance scale
dbim:10,perturbed_guidance=blur:scale=1.5+split=yes    perturbed guidance; + separates its fields
colour-transfer:to=targets    colours moved to those of a folder, without a model; bare numbers are strengths
default:direction=BtoA        the other direction of a model that has two
"""

import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods import DEFAULT_METHOD, METHODS
from ddbm_cli.options.names import aliases, check_name, names, suggest

DEFAULT, FAST = "default", "fast"
NAMED = {name: method for name, method in METHODS.items() if name != DEFAULT_METHOD}
"""Methods that are specified by their name; the default method is specified by its sampler."""

NOT_SAMPLERS = (DEFAULT, FAST, *NAMED)
"""Names that leave the sampler to the model card."""

SCALES = {"guidance_scale": float, "image_guidance_scale": float}
PERTURBED = "perturbed_guidance"
CONDITIONS = ("class", *SCALES, PERTURBED)
"""Fields of a method that are its conditions, in their order."""


def _perturbation(text: str) -> str:
    """Return a perturbation in its command-line form."""
    return text.replace("+", ",")


OWN_FIELDS: dict[str, Callable[[str], Any]] = {
    "model": str,
    "grid": str,
    "nfe": int,
    "steps": int,
    "strength": float,
    "source": str,
    "to": str,
    "colours_from": str,
    "colour_space": str,
    "class": str,
    "direction": str,
    **SCALES,
    PERTURBED: _perturbation,
}
"""Fields of a method; all others are the sampler's."""

RANGES = {
    "nfe": (1, math.inf),
    "steps": (1, math.inf),
    "strength": (0, 1),
    "guidance_scale": (0, 1000),
    "image_guidance_scale": (0, 1000),
}

DIRECTIONS = ("AtoB", "BtoA")

COLOURS = ("to", "colours_from", "colour_space")

ONLY_OF = {"strength": "strength", "source": "source_model"} | {name: name for name in COLOURS}
"""Fields that only some methods take, with their options."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One column of a comparison; None leaves a choice to the model card.

    name: of the sampler or method, as written. sampler: in its command-line form.
    strength: SDEdit's noise level, or where colour transfer ends, 0 to 1. source: DDIB's model of the sources.
    to, colours_from, colour_space: of colour transfer.
    direction: of a model that has two.
    conditions: class and guidance scales, as options of `translate`.
    own_budget: the method specifies its budget itself, so that --nfe and --seconds do not apply to it.
    """

    name: str
    sampler: str | None = None
    model: str | None = None
    grid: str | None = None
    nfe: int | None = None
    steps: int | None = None
    strength: float | None = None
    source: str | None = None
    to: str | None = None
    colours_from: str | None = None
    colour_space: str | None = None
    direction: str | None = None
    conditions: tuple[tuple[str, Any], ...] = ()
    own_budget: bool = False

    @property
    def label(self) -> str:
        """The method without its budget and its model."""
        words = self.name if self.name in NOT_SAMPLERS else str(self.sampler)
        words = f"{words}:{self.strength:g}" if self.strength is not None else words
        words = f"{words} grid {self.grid}" if self.grid is not None else words
        words = f"{words} {self.colour_space}" if self.colour_space is not None else words
        words = f"{words} {self.direction}" if self.direction is not None else words
        return " ".join([words, *(f"{name.replace('_', ' ')} {value}" for name, value in self.conditions)])

    @property
    def needs_prior(self) -> bool:
        """Whether the model is the built-in prior unless the method specifies one."""
        return self.name in NAMED and NAMED[self.name].needs_prior

    @property
    def needs_model(self) -> bool:
        """Whether -m can name the model."""
        return self.name not in NAMED or NAMED[self.name].needs_model

    @property
    def is_guided(self) -> bool:
        """Whether an evaluation combines several estimates."""
        return any(name == PERTURBED or (name in SCALES and value != 1) for name, value in self.conditions)

    @property
    def reference(self) -> str | None:
        """What names the model that is used; None for the one that a record names."""
        return None if self.name == FAST else self.model

    def field(self, name: str) -> Any:
        """Return a condition, None for none."""
        return dict(self.conditions).get(name)

    def options(self) -> dict[str, Any]:
        """Return what differs from a plain `translate`, as its options."""
        given: dict[str, Any] = {
            "model": self.model,
            "sampler": self.sampler,
            "grid": self.grid,
            "nfe": self.nfe,
            "steps": self.steps,
            "direction": self.direction,
        }
        if self.name == FAST:
            given["fast"] = True
        if self.name in NAMED:
            given |= {"method": self.name, "strength": self.strength, "source_model": self.source}
            given |= {name: getattr(self, name) for name in COLOURS}
        given |= {"class_name" if name == "class" else name: value for name, value in self.conditions}
        return {name: value for name, value in given.items() if value is not None}


def parse_methods(
    specs: Sequence[str],
    *,
    model: str | None = None,
    nfe: int | None = None,
    direction: str | None = None,
    sweep: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> list[Method]:
    """Return the methods that the specifications stand for, in order.

    Args:
        specs: in the form above. model: of the methods that specify none, except SDEdit and DDIB, which use a prior.
        nfe: budget of the methods that specify none.
        direction: as `model`.
        sweep: values of the guidance scales of methods that specify none.

    Raises:
        UsageError: a value that cannot be read or is out of range, an unknown field, or the same method twice.
    """
    methods: list[Method] = []
    for spec in specs:
        for method in (each for one in _read(spec) for each in _swept(one, sweep)):
            complete = method
            of_bridge = method.needs_model and not method.needs_prior
            if method.model is None and of_bridge:
                complete = replace(complete, model=model)
            if method.direction is None and of_bridge:
                complete = replace(complete, direction=direction)
            if not method.own_budget:
                complete = replace(complete, nfe=nfe)
            if complete in methods or replace(complete, own_budget=not complete.own_budget) in methods:
                raise UsageError(f"method '{spec}' is given twice", hint="remove one, or give it another budget")
            methods.append(complete)
    return methods


def _swept(method: Method, sweep: Mapping[str, Sequence[float]]) -> Iterator[Method]:
    """Yield a method with all combinations of the scales that it does not specify."""
    own = dict(method.conditions)
    varied = {name: values for name, values in sweep.items() if name not in own}
    for values in itertools.product(*varied.values()):
        every = own | dict(zip(varied, values, strict=True))
        yield replace(method, conditions=tuple((name, every[name]) for name in CONDITIONS if name in every))


def _read(spec: str) -> Iterator[Method]:
    name, _, rest = spec.partition(":")
    name = name.strip()
    if not name:
        raise UsageError(f"method '{spec}' has no name", hint=_form())
    if name not in NOT_SAMPLERS:
        _check_name(name)
    items = [item.strip() for item in rest.split(",") if item.strip()]
    numbers = [item for item in items if "=" not in item]
    own, fields = _part((item.partition("=") for item in items if "=" in item), spec)
    sampler = None if name in NOT_SAMPLERS else ":".join(filter(None, [name, ",".join(fields)]))
    if sampler is None and fields:
        field = fields[0].partition("=")[0]
        raise UsageError(f"method '{name}' has no field '{field}'", hint=_similar(field) or _takes(name))
    for field in ONLY_OF:
        if field in own and name not in _takers(field):
            takers = " or ".join(_takers(field))
            raise UsageError(f"method '{name}' has no field '{field}'", hint=f"{field} is for {takers}")
    conditions = tuple((each, own.pop(each)) for each in CONDITIONS if each in own)
    method = Method(name=name, sampler=sampler, conditions=conditions, **own)
    bare = NAMED[name].bare_number if name in NAMED else "nfe"
    if numbers and own.get(bare) is not None:
        raise UsageError(f"'{spec}' specifies its {bare} twice", hint=f"write {name}:{numbers[0]}")
    if not numbers:
        yield _checked(method, spec)
    for number in numbers:
        yield _checked(replace(method, **{bare: _value(bare, number, spec)}), spec)


def _check_name(name: str) -> None:
    """Check that a name is of a sampler; the suggestions include the other methods."""
    try:
        check_name("samplers", name)
    except UsageError:
        known = [*names("samplers"), *aliases("samplers"), *NOT_SAMPLERS]
        hint = f"{suggest(name, known)}choose one of: {', '.join(known)}"
        raise UsageError(f"unknown sampler or method '{name}'", hint=hint) from None


def _checked(method: Method, spec: str) -> Method:
    if method.nfe is not None and method.steps is not None:
        raise UsageError(f"'{spec}': nfe and steps are mutually exclusive", hint="remove one of them")
    return replace(method, own_budget=not method.needs_model or method.nfe is not None or method.steps is not None)


def _part(pairs: Iterable[tuple[str, str, str]], spec: str) -> tuple[dict[str, Any], list[str]]:
    """Return the method's own fields, and the sampler's as they were written."""
    own: dict[str, Any] = {}
    fields: list[str] = []
    for key, _, value in pairs:
        key, value = key.strip(), value.strip()
        if key in own or key in (field.partition("=")[0] for field in fields):
            raise UsageError(f"'{spec}' specifies {key} twice", hint=f"remove one {key}=")
        if key.replace("-", "_") in OWN_FIELDS:
            key = key.replace("-", "_")
            own[key] = _value(key, value, spec)
        else:
            fields.append(f"{key}={value}")
    return own, fields


def _value(field: str, text: str, spec: str) -> Any:
    try:
        value = OWN_FIELDS[field](text)
    except ValueError:
        raise UsageError(f"cannot read '{text}' in '{spec}'", hint=_form()) from None
    low, high = RANGES.get(field, (-math.inf, math.inf))
    if field in RANGES and not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UsageError(f"'{spec}': {field} {text} is out of range", hint=f"{field} must be {allowed}")
    if field == "direction" and value not in DIRECTIONS:
        raise UsageError(f"'{spec}': no direction '{text}'", hint=f"choose one of: {', '.join(DIRECTIONS)}")
    if value == "":
        raise UsageError(f"'{spec}': {field} has no value", hint=_form())
    return value


def _form() -> str:
    return f"write NAME:N or NAME:field=value; {_takes('')}"


def _takes(name: str) -> str:
    own = [field for field in OWN_FIELDS if field not in ONLY_OF or not name or name in _takers(field)]
    return f"fields: {', '.join(own)}{'' if name in NOT_SAMPLERS else ', and those of the sampler'}"


def _takers(field: str) -> list[str]:
    """Return the names of the methods that take a field of `ONLY_OF`."""
    return [name for name, method in NAMED.items() if ONLY_OF[field] in method.takes]


def _similar(field: str) -> str:
    found = difflib.get_close_matches(field, OWN_FIELDS, n=1)
    return f"did you mean '{found[0]}'?" if found else ""
