"""`ddbm train`: options in, events out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ddbm_cli.cli import console, signature, training
from ddbm_cli.options.check import check
from ddbm_cli.options.groups import PRINTED, Printed
from ddbm_cli.options.train import PANELS, TrainCommand


@signature.takes(TrainCommand, Printed, panels=("", *PANELS, PRINTED))
def train(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Train a bridge on your own pairs of pictures, or a prior on pictures alone.

    A run is a folder; ^C or a power cut costs at most the steps since the last checkpoint, and --resume goes on to
    the very weights that an undisturbed run would have had. The model for `ddbm translate -m` is RUN/model.safetensors.

    Examples:

      ddbm data edges photos/ pairs/          make pairs: sketches in pairs/A, pictures in pairs/B

      ddbm train pairs/ -o runs/mine --hours 2

      ddbm train --resume runs/mine

      ddbm translate sketches/ out/ -m runs/mine/model.safetensors

      ddbm train pictures/ --task prior -o runs/prior

      ddbm train pairs/ --objective pix2pix -o runs/pix2pix

      ddbm train pairs/ --from sketch-to-3d-64 --learning-rate 1e-4 -o runs/mine

    With --task prior (or words that begin with "->") it learns to make pictures from noise, on a path without a source:
    ve, vp or cosine. It takes a plain folder of pictures, sub-folders too; of a folder of pairs it takes B.
    With --classes the folders in A/ and B/ (or of a prior's pictures) are classes: A/cat/1.png; see --class and the
    scales of guidance at ddbm translate and ddbm sample.
    With --from NAME it goes on from a model's weights, on its path and at its size; a prior may become a bridge.
    With --objective pix2pix a generator and a critic are trained on pairs, and a picture takes one evaluation.
    """
    shown = Printed(**printed)
    check(TrainCommand, given)
    settings = dict(given)
    config, resume, dry_run = (settings.pop(name, None) for name in ("config", "resume", "dry_run"))
    if settings.pop("blind", False):
        settings["sees_source"] = False
    if resume is not None:
        settings["output"] = resume

    from ddbm_cli.tasks import train as task

    request = task.request(settings, config=config and Path(config), resume=resume and Path(resume))
    with training.stop_between_steps() as stop:
        events = task.run(request, stop=stop, dry_run=bool(dry_run))
        code = console.render(events, quiet=shown.quiet, json=shown.json, progress=not shown.no_progress)
    raise typer.Exit(code)
