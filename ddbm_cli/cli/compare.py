"""`ddbm compare`: options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.comparison.request import check
from ddbm_cli.options.check import from_options
from ddbm_cli.options.compare import CompareRequest
from ddbm_cli.options.groups import PANELS, Printed


@signature.takes(CompareRequest, Printed, panels=PANELS)
def compare(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Compare methods on the same images: one page with images, a table and trajectories.

    A method is a sampler, its fields, and a budget of network evaluations: ddbm:119, dbim:eta=0,nfe=10. Several bare
    numbers are several methods: dbim:5,10,20. Other methods: default (the settings of the model card),
    sdedit:0.2,0.4 (strengths) and ddib:20,source=MODEL,model=MODEL. Fields of every method: model, grid, nfe, steps,
    class, guidance_scale, image_guidance_scale. Run an interrupted command again to resume it.

    \b
    Examples:
      ddbm compare                            the default model on its sketches
      ddbm compare sketch.png -t image.png    one image
      ddbm compare sketches/ -t images/ --with dbim:5,10 -o cmp.html -o cmp.png
      ddbm compare sketches/ --with dbim --with dbim:model=runs/mine --nfe 10
      ddbm compare sketches/ --seconds 0.5
      ddbm compare a.png -m edits --prompt "turn red" --sweep guidance-scale=1,3

    \b
    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some images
    or methods failed, 4 model not available, 130 interrupted.
    """
    shown = Printed(**printed)
    request = from_options(CompareRequest, given, command="compare")
    methods = check(request)
    early.compare(request)
    for method in methods:
        early.model(method.model)
        early.model(method.source)

    from ddbm_cli.tasks.compare import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))
