"""Options that are varied: `--sweep NAME=VALUE,VALUE`, once or twice."""

import math
from collections.abc import Sequence
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import declared
from ddbm_cli.options.check import from_options, read
from ddbm_cli.options.names import suggest
from ddbm_cli.options.translate import TranslateRequest

SWEPT = ("image_guidance_scale", "guidance_scale", "strength", "nfe", "steps", "seed")
"""Fields that can be varied."""

MOST = 100
"""Combinations of one sweep, at most."""

FORM = "write --sweep image-guidance-scale=1,1.5,2 --sweep guidance-scale=3,7.5"

Axes = dict[str, tuple[Any, ...]]
"""Field -> its values; the first is down the sheet, the second across."""


def read_axes(words: Sequence[str], fields: Sequence[str] = SWEPT) -> Axes:
    """Return what `--sweep` varies, each word NAME=VALUE,VALUE; one word may hold several, separated by spaces.

    Args:
        fields: that can be varied.

    Raises:
        UsageError: an unknown option, a value out of range, the same option twice, or too many.
    """
    axes: Axes = {}
    for word in " ".join(words).split():
        name, equals, texts = word.partition("=")
        field = name.removeprefix("--").replace("-", "_")
        if field not in fields or not equals:
            near = suggest(field, fields)
            raise UsageError(f"--sweep {word}: not one of {', '.join(map(spelled, fields))}", hint=near or FORM)
        if field in axes:
            raise UsageError(f"--sweep: {name} is given twice", hint="write all its values after one =")
        option = declared(TranslateRequest)[field]
        values = [read(option, text.strip()) for text in texts.split(",") if text.strip()]
        checked = [from_options(TranslateRequest, {"source": "", field: each}, command="translate") for each in values]
        axes[field] = tuple(dict.fromkeys(getattr(each, field) for each in checked))
        if not values:
            raise UsageError(f"--sweep {word}: no values", hint=FORM)
    if len(axes) > 2:
        raise UsageError(f"--sweep: {len(axes)} options are too many", hint="vary one or two")
    count = math.prod(map(len, axes.values()))
    if count > MOST:
        raise UsageError(f"--sweep: {count} combinations are too many", hint=f"leave at most {MOST}")
    return axes


def spelled(field: str) -> str:
    """Return a field as the command line spells it."""
    return field.replace("_", "-")
