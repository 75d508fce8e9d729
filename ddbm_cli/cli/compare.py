"""`ddbm compare`: options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, signature
from ddbm_cli.options.check import from_options
from ddbm_cli.options.compare import CompareRequest
from ddbm_cli.options.groups import PANELS, Printed


@signature.takes(CompareRequest, Printed, panels=PANELS)
def compare(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Compare methods on the same pictures: one page with a table, a slider, and the way of each picture.

    A method is a sampler's name, its fields, and a budget; bare numbers are budgets. --nfe gives the same number of
    network evaluations to all that name none. Stopped and given again, the command goes on.

    \b
    Examples:
      ddbm compare                                       the built-in model on its own sketches
      ddbm compare sketches/ -t pictures/ --with ddbm:119 --with dbim:5,10,20 -o cmp.html -o cmp.png
      ddbm compare sketches/ --with dbim --with dbim:model=mine.safetensors --nfe 10
      ddbm compare sketches/ --seconds 0.5

    \b
    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some methods or pictures failed, 4 no model.
    """
    shown = Printed(**printed)
    request = from_options(CompareRequest, given, command="compare")

    from ddbm_cli.tasks.compare import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))
