"""The parameters of POST /translate: those options of `ddbm translate` that decide an image, and a few of its own."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import declared
from ddbm_cli.foundation.text import one_line
from ddbm_cli.options.check import from_options, read
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.serve.limits import Limits, Refused

OPTIONS = {
    "nfe": "nfe",
    "steps": "steps",
    "sampler": "sampler",
    "grid": "grid",
    "seed": "seed",
    "draws": "number",
    "start": "start",
    "prepare": "prepare",
    "objects": "objects",
    "fit": "fit",
    "keep_size": "keep_size",
    "alpha": "alpha",
    "class": "class_name",
    "guidance_scale": "guidance_scale",
    "image_guidance_scale": "image_guidance_scale",
    "metadata": "metadata",
}
"""Parameters that are options of `ddbm translate`, and the fields of its request."""

OWN = ("model", "name", "trajectory")
KNOWN = (*OWN, *OPTIONS)

NAME = "drawing.png"
LONGEST_NAME = 100
LONGEST_VALUE = 1000

YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    options: checked, without a model. model: the name of an offered model, "" for the first. trajectory: whether the
    states of the first draw are wanted.
    """

    options: TranslateRequest
    model: str
    trajectory: bool

    @property
    def draws(self) -> range:
        """The numbers of the draws."""
        return range(self.options.start, self.options.start + self.options.number)


def read_parameters(given: Iterable[tuple[str, str]], limits: Limits) -> Asked:
    """Return what the parameters of a request ask for.

    Args:
        given: names and values as they were sent; hyphens and underscores are alike.

    Raises:
        UsageError: one is unknown, given twice, or has a wrong value.
        Refused: more draws or network evaluations than the server allows.
    """
    values: dict[str, str] = {}
    for sent, value in given:
        name = sent.replace("-", "_")
        if name not in KNOWN:
            close = difflib.get_close_matches(name, KNOWN, 1)
            meant = f"did you mean '{close[0]}'? " if close else ""
            raise UsageError(
                f"unknown parameter '{one_line(sent[:40])}'", hint=f"{meant}The parameters are: {', '.join(KNOWN)}"
            )
        if name in values:
            raise UsageError(f"parameter '{name}' is given twice", hint="pass it once")
        if len(value) > LONGEST_VALUE or not value.isprintable():
            raise UsageError(
                f"parameter '{name}' is no text of one line", hint=f"pass up to {LONGEST_VALUE} characters"
            )
        values[name] = value
    options = from_options(TranslateRequest, _options(values), command="translate")
    if options.number > limits.draws:
        raise Refused(
            f"{options.number} draws: this server makes at most {limits.draws} in one request",
            hint="ask for fewer draws, or start the server with --max-draws",
            status=400,
        )
    if options.nfe is not None:
        check_nfe(options.nfe, limits)
    return Asked(options, values.get("model", ""), _flag("trajectory", values.get("trajectory", "")))


def check_nfe(nfe: int, limits: Limits) -> None:
    """Check the number of network evaluations of an image.

    Raises:
        Refused: it is more than the server allows.
    """
    if nfe > limits.nfe:
        raise Refused(
            f"{nfe} network evaluations per image: this server makes at most {limits.nfe}",
            hint="ask for fewer, or start the server with --max-nfe",
            status=400,
        )


def _options(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the request's fields."""
    fields = declared(TranslateRequest)
    given: dict[str, Any] = {"source": _file_name(values.get("name", "")), "batch_size": 1}
    for name, value in values.items():
        field = OPTIONS.get(name)
        if field and value:
            option = fields[field]
            given[field] = _flag(name, value) if option.kind is bool else read(option, value)
    return given


def _flag(name: str, value: str) -> bool:
    if value.lower() not in (*YES, *NO):
        raise UsageError(f"parameter '{name}' must be true or false, not '{value}'", hint=f"pass {name}=true")
    return value.lower() in YES


def _file_name(name: str) -> str:
    """Return the file's name, which seeds the noise: without folders, and never empty."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return NAME if last in ("", ".", "..", "-") else last[:LONGEST_NAME]
