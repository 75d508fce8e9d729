"""`ddbm tune`: options in, a model file with settings for small budgets out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.options import groups
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import Printed
from ddbm_cli.options.tune import SEARCH, TuneRequest


@signature.takes(TuneRequest, Printed, panels=("", groups.SAMPLING, SEARCH, *groups.PANELS))
def tune(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Search sampler and times for small budgets, and store them in the model's card.

    Few evaluations are compared with many that start from the same noise. The images of the search are none that are
    held out. Afterwards `--nfe N` without a sampler uses what was found for N. Run an interrupted command again to
    resume it.

    \b
    Examples:
      ddbm tune runs/mine pairs/ --nfe 6
      ddbm tune sketch-to-3d-64 pairs/ --nfe 4,6,10 -o tuned.safetensors
    """
    shown = Printed(**printed)
    request = from_options(TuneRequest, given, command="tune")
    early.tune(request)

    from ddbm_cli.tasks.tune import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))
