"""`ddbm sample`: options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, preview, signature
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import PANELS, Printed
from ddbm_cli.options.sample import SampleCommand, SampleRequest


@signature.takes(SampleCommand, Printed, panels=PANELS)
def sample(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Sample images from noise with a prior, or many draws of each source with a bridge.

    Finished images are kept, so the same command resumes an interrupted run, and a larger -n adds to the folder.

    \b
    Examples:
      ddbm sample -n 64 -o pictures/ -m runs/prior --sheet sheet.png
      ddbm sample -n 50000 -o pictures/ --sampler dbim-3 --nfe 12 --npz all.npz
      ddbm sample sketches/ -n 8 -o draws/ --spread --sheet sheet.png
      ddbm sample sketch.png -n 2 --interpolate 6 -o between/
    """
    shown, shard = Printed(**printed), signature.shard()
    previewed = bool(given.get("preview"))
    if previewed:
        preview.check()
    options = {name: value for name, value in given.items() if name != "preview"}
    request = from_options(SampleRequest, {**options, "shard": shard}, command="sample")
    early.sample(request)

    from ddbm_cli.tasks.sample import run

    quiet = shown.quiet or shard[0] > 0
    code = console.render(run(request), quiet=quiet, json=shown.json, progress=not shown.no_progress, preview=previewed)
    raise typer.Exit(code)
