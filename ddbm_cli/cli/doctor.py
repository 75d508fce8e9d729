"""`ddbm doctor`: whether this machine can do the work."""

from typing import Annotated

import typer

from ddbm_cli.cli import console, options


def doctor(
    device: options.Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON record a line.")] = False,
) -> None:
    """Check this machine: device, number types, speed, cache, network, registry, a run of the built-in model.

    \b
    Examples:
      ddbm doctor
      ddbm doctor --device cpu --json

    \b
    Exit codes: 0 all is well, or only limited; 1 something is broken.
    """
    from ddbm_cli.tasks.doctor import run

    raise typer.Exit(console.render(run(device), json=json, progress=False))
