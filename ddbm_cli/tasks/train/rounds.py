"""The settings of a training without pairs that follow from others, and what they exclude."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.options.unpaired import FIRST_ROUNDS, UNPAIRED_OPTIONS

SCHRODINGER = {
    "path": "brownian:variance=0.1",
    "times": "uniform",
    "translates": "A -> B",
    "recipe": {"learning_rate": 2e-4, "lr_decay_fraction": 0.1},
}
"""Defaults of a Schrödinger bridge where they differ from those of `TrainRequest`."""


def check_given(given: Mapping[str, Any]) -> None:
    """Check the options that are given together.

    Raises:
        UsageError: two of them set the length of the run.
    """
    if given.get("rounds") and given.get("recipe", {}).get("steps"):
        raise UsageError("--rounds and --steps are mutually exclusive", hint="pass one of them")


def in_rounds(body: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a Schrödinger bridge, with --rounds as a number of steps.

    Raises:
        UsageError: a setting is for pairs.
    """
    for name in ("source", "classes", "text", "drop", "lora"):
        if body.get(name):
            raise UsageError(f"--{name} is not for --task schrodinger", hint=f"leave out --{name}")
    rounds = body.pop("rounds", None)
    if isinstance(rounds, int):
        each = body.get("round_steps", TrainRequest.round_steps)
        first = body.get("first_round_steps") or FIRST_ROUNDS * each
        body = body | {"recipe": {**body.get("recipe", {}), "steps": first + (rounds - 1) * each}}
    return body


def check_paired(body: Mapping[str, Any]) -> None:
    """Check that no option of a training without pairs is given for another.

    Raises:
        UsageError: one is.
    """
    fields = {field.name: field.default for field in dataclasses.fields(TrainRequest)}
    for name in UNPAIRED_OPTIONS:
        if body.get(name, fields[name]) != fields[name]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} is an option of --task schrodinger", hint=f"add --task schrodinger, or leave out {option}"
            )
