"""Methods as people write them: a sampler's name, its fields, and the budget.

heun                          a sampler, with the model's own budget
heun:churn=0.33,nfe=119       its fields, and a number of network evaluations
dbim:5,10,20                  bare numbers are budgets: three methods
dbim-2:model=my.safetensors   another model
default                       what the model's card says
sdedit:0.2,0.4                bare numbers are strengths
ddib:20,source=a,model=b      two priors, of the sources and of the targets
dbim:10,class=cat,guidance_scale=3    what a model is told, and how much that is exaggerated
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods import DEFAULT_METHOD, METHODS

DEFAULT = "default"
NAMED = {name: method for name, method in METHODS.items() if name != DEFAULT_METHOD}
"""Methods by name; the default method is named by its sampler."""

WAYS = (DEFAULT, *NAMED)
"""Names that are no sampler, and leave it to the model's card."""

SCALES = {"guidance_scale": float, "image_guidance_scale": float}

_PLAIN = {"model": str, "grid": str, "nfe": int, "steps": int, "strength": float, "source": str, "class": str}
OWN_FIELDS = _PLAIN | SCALES
"""Fields of a method; all others are the sampler's."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One column of a comparison; None leaves a choice to the model's card.

    name: of the sampler or method, as it was written. sampler: in its shell form.
    strength: SDEdit's share of the way back to noise, 0 to 1. source: DDIB's model of the sources.
    told: class and scales of guidance, as options of `translate`.
    """

    name: str
    sampler: str | None = None
    model: str | None = None
    grid: str | None = None
    nfe: int | None = None
    steps: int | None = None
    strength: float | None = None
    source: str | None = None
    told: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """What the method is called, without its budget."""
        words = self.name if self.name in WAYS else str(self.sampler)
        words = f"{words}:{self.strength:g}" if self.strength is not None else words
        return " ".join([words, *(f"{name.replace('_', ' ')} {value}" for name, value in self.told)])

    @property
    def is_guided(self) -> bool:
        """Whether an evaluation combines several estimates."""
        return any(name in SCALES and value != 1 for name, value in self.told)

    def options(self) -> dict[str, Any]:
        """Return what differs from a plain `translate`, as its options."""
        given: dict[str, Any] = {
            "model": self.model,
            "sampler": self.sampler,
            "grid": self.grid,
            "nfe": self.nfe,
            "steps": self.steps,
        }
        if self.name in NAMED:
            given |= {"method": self.name, "strength": self.strength, "source_model": self.source}
        given |= {"class_name" if name == "class" else name: value for name, value in self.told}
        return {name: value for name, value in given.items() if value is not None}


def parse_methods(specs: Sequence[str], *, model: str | None = None, nfe: int | None = None) -> list[Method]:
    """Return the methods that the specs stand for, in order.

    Args:
        specs: as in this module's text. nfe: of methods without their own budget. model: of bridges without their own.

    Raises:
        UsageError: a value that is no number, or the same method twice.
    """
    methods: list[Method] = []
    for spec in specs:
        for method in _read(spec):
            # A method that needs a prior takes the built-in one, not the model of the others, which is a bridge.
            needs_prior = method.name in NAMED and NAMED[method.name].needs_prior
            complete = method if needs_prior else replace(method, model=method.model or model)
            if complete.nfe is None and complete.steps is None:
                complete = replace(complete, nfe=nfe)
            if complete in methods:
                raise UsageError(f"method '{spec}' is given twice", hint="leave one out, or give it another --nfe")
            methods.append(complete)
    return methods


def _read(spec: str) -> Iterator[Method]:
    name, _, rest = spec.partition(":")
    items = [item.strip() for item in rest.split(",") if item.strip()]
    numbers = [item for item in items if "=" not in item]
    own, fields = _part((item.partition("=") for item in items if "=" in item), spec)
    sampler = None if name in WAYS else ":".join(filter(None, [name, ",".join(fields)]))
    if sampler is None and fields:
        raise UsageError(f"'{name}' has no field '{fields[0].partition('=')[0]}'", hint=f"it takes {_takes()}")
    told = tuple((name, own.pop(name)) for name in ("class", *SCALES) if name in own)
    method = Method(name=name, sampler=sampler, told=told, **own)
    bare = NAMED[name].bare_number if name in NAMED else "nfe"
    if numbers and own.get(bare) is not None:
        raise UsageError(f"'{spec}' gives its {bare} twice", hint=f"write {name}:{numbers[0]}")
    if not numbers:
        yield method
    for number in numbers:
        yield replace(method, **{bare: _number(OWN_FIELDS[bare], number, spec)})


def _part(pairs: Iterable[tuple[str, str, str]], spec: str) -> tuple[dict[str, Any], list[str]]:
    """Return the method's own fields, and the sampler's as they were written."""
    own: dict[str, Any] = {}
    fields: list[str] = []
    for key, _, value in pairs:
        if key in OWN_FIELDS:
            own[key] = _number(OWN_FIELDS[key], value, spec)
        else:
            fields.append(f"{key}={value}")
    return own, fields


def _number(kind: type, text: str, spec: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(
            f"cannot read '{text}' in '{spec}'", hint=f"write NAME:N or NAME:field=value; {_takes()}"
        ) from None


def _takes() -> str:
    return f"fields: {', '.join(OWN_FIELDS)}, and the sampler's"
