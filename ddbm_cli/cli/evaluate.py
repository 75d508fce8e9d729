"""`ddbm evaluate`: options in, a table of figures out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, report, signature
from ddbm_cli.options import groups
from ddbm_cli.options.check import from_options
from ddbm_cli.options.evaluate import COMPARED, FIGURES, EvaluateRequest, Form


@signature.takes(EvaluateRequest, Form, panels=("", COMPARED, FIGURES, *groups.PANELS))
def evaluate(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Measure outputs against targets, sketches or a prior, or how much draws of one source differ.

    Outputs and targets are pairs if they have the same file names, and two sets otherwise (FID, sliced Wasserstein).
    Each figure is printed with its definition, the number of images, and a 95 % bootstrap confidence interval.

    \b
    Examples:
      ddbm evaluate images/ truth/
      ddbm evaluate images/ photos/ --resize targets --json
      ddbm evaluate images/ truth/ --sketches sketches/ --per-image scores.csv
      ddbm evaluate samples/ photos/ --unpaired   two sets of any file names
      ddbm evaluate samples/ statistics.npz --metrics fid
      ddbm evaluate draws/                        draws by ddbm sample
      ddbm evaluate draws/0 --draws draws/1 --draws draws/2
      ddbm evaluate images/ -m runs/prior         bits per dimension
      ddbm evaluate dogs/ real/ --unpaired --sketches cats/ --cycle runs/pets
    """
    shown = from_options(Form, printed, command="evaluate")
    request = from_options(EvaluateRequest, given, command="evaluate")
    early.evaluate(request)

    from ddbm_cli.tasks.evaluate import run

    code = console.render(
        run(request),
        quiet=shown.quiet,
        json=shown.json,
        progress=not shown.no_progress,
        table=report.as_csv if shown.csv else report.as_table,
        all_wanted=request.metrics is not None,
    )
    raise typer.Exit(code)
