"""`ddbm doctor`: whether this machine can do the work."""

from typing import Annotated

import typer

from ddbm_cli.cli import console, options
from ddbm_cli.cli.help import heading


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

    broken = False
    for check in run(device):
        broken |= check.grave and not check.well
        if json:
            console.emit(vars(check))
            continue
        typer.echo(f"{'ok' if check.well else '!!'}  {heading(f'{check.name:<9}')}  {check.found}")
        if not check.well:
            typer.echo(f"{'':14}Try: {check.hint}")
    raise typer.Exit(int(broken))
