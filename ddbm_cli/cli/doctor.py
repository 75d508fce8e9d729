"""`ddbm doctor`: whether this machine can do the work."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.options.groups import Records
from ddbm_cli.options.weights import DoctorOptions


@signature.takes(DoctorOptions, Records)
def doctor(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Check this machine: device, number types, speed, cache, network, models.

    \b
    Examples:
      ddbm doctor
      ddbm doctor --device cpu --json

    \b
    Exit codes: 0 everything works, perhaps with limits, 1 something does not.
    """
    device = str(given.get("device", "auto"))
    early.device(device)

    from ddbm_cli.tasks.doctor import run

    raise typer.Exit(console.render(run(device), json=printed.get("json", False), progress=False))
