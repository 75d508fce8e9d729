"""`ddbm evaluate`: options in, a table of figures out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.cli import console, options, report
from ddbm_cli.foundation.errors import UsageError

COMPARED, FIGURES = "What is compared", "Figures"


class Side(StrEnum):
    """Which side of a pair."""

    outputs = "outputs"
    targets = "targets"


def evaluate(
    outputs: Annotated[Path, typer.Argument(help="Folder (with sub-folders) of pictures, or one.", show_default=False)],
    targets: Annotated[Path | None, typer.Argument(help="What they should be, under the same names.")] = None,
    sketches: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The sources: measures whether edges are kept.", rich_help_panel=COMPARED),
    ] = None,
    draws: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Further outputs of the same sources; repeat it.", rich_help_panel=COMPARED
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="NAME", help="A prior: how likely the outputs are.", rich_help_panel=COMPARED
        ),
    ] = None,
    resize: Annotated[
        Side | None,
        typer.Option(help="Bring these to the size of the others, where they differ.", rich_help_panel=COMPARED),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Such as mse,ssim,fid; all that fit by default.", rich_help_panel=FIGURES),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            metavar="N", help="Of the ODE that gives the likelihood.", min=1, max=10_000, rich_help_panel=FIGURES
        ),
    ] = 64,
    seed: Annotated[
        int,
        typer.Option("-s", "--seed", metavar="N", help="Of the bootstrap and the likelihood.", rich_help_panel=FIGURES),
    ] = 0,
    per_image: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write a line for each picture too.", rich_help_panel=FIGURES),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("-b", "--batch-size", metavar="N", help="Pictures at once.", min=1, rich_help_panel=options.SPEED),
    ] = 32,
    device: options.Device = "auto",
    csv: Annotated[
        bool, typer.Option("--csv", help="The table as CSV on standard output.", rich_help_panel=options.PRINTED)
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON record on standard output.", rich_help_panel=options.PRINTED)
    ] = False,
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Measure how good outputs are: against targets, sketches or a prior, or how much draws differ.

    Each figure comes with its recipe, the number of pictures, and a 95 % bootstrap confidence interval.

    \b
    Examples:
      ddbm evaluate pictures/ truth/
      ddbm evaluate pictures/ photos/ --resize targets --json
      ddbm evaluate pictures/ truth/ --sketches sketches/ --per-image scores.csv
      ddbm evaluate draws/0 --draws draws/1 --draws draws/2
      ddbm evaluate pictures/ -m runs/prior              bits per dimension
    """
    if csv and json:
        raise UsageError("--csv and --json are two forms of one table", hint="give one of them")
    from ddbm_cli.tasks.evaluate import EvaluateRequest, run

    request = EvaluateRequest(
        outputs=outputs,
        targets=targets,
        sketches=sketches,
        draws=tuple(draws or ()),
        prior=model,
        steps=steps,
        metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()) if metrics is not None else None,
        resize=resize.value if resize else None,
        per_image=per_image,
        batch_size=batch_size,
        device=device,
        seed=seed,
    )
    code = console.render(
        run(request),
        quiet=quiet,
        json=json,
        progress=not no_progress,
        table=report.as_csv if csv else report.as_table,
        all_wanted=metrics is not None,
    )
    raise typer.Exit(code)
