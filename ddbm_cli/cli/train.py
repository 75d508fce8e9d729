"""`ddbm train`: options in, events out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ddbm_cli.cli import console, early, preview, signature, terminal, training
from ddbm_cli.foundation import launched
from ddbm_cli.options.check import check
from ddbm_cli.options.groups import PRINTED, Printed
from ddbm_cli.options.train import PANELS, TrainCommand


@signature.takes(TrainCommand, Printed, panels=("", *PANELS, PRINTED))
def train(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Train a bridge on pairs of images, or a prior on images alone.

    A run is a folder. After Ctrl-C, a kill or a power cut, --resume continues from the last checkpoint, and the result
    is bit-identical to an uninterrupted run. The model for `ddbm translate -m` is RUN/model.safetensors. Another
    training never continues a run: without -o it gets a new folder, with -o it is refused.

    \b
    Examples:
      ddbm data edges photos/ pairs/   make pairs: sketches and images
      ddbm train pairs/ -o runs/mine --hours 2
      ddbm train pairs.csv --size 256x192 --augment flip,crop,colour
      ddbm train images/ --source degrade:sr4 -o runs/sr4
      ddbm train pairs/ --preset tiny --hours 0.2
      ddbm train --preset base-64 --show > settings.toml
      ddbm train --resume runs/mine
      ddbm translate sketches/ out/ -m runs/mine
      ddbm train images/ --task prior -o runs/prior
      ddbm train pairs/ --objective pix2pix -o runs/pix2pix
      ddbm train cats/ dogs/ --task schrodinger -o runs/cats-dogs
      ddbm train pairs/ --from sketch-to-3d-64 --learning-rate 1e-4 -o runs/new

    With --task prior the model generates images from noise. It takes a folder of images with its sub-folders; of a
    folder of pairs it takes B. The path is ve, vp or cosine, or a bridge from noise: ve-bridge, rectified,
    vp-bridge:beta_d=19.9.
    With --task schrodinger two folders of images without pairs are translated into each other, in both directions; see
    --direction of ddbm translate. The path is the reference process: the more noise it has, the freer are the results.
    With --classes the folders in A/ and B/ (or of a prior's images) are classes: A/cat/1.png. See --class and
    --guidance-scale of ddbm translate and ddbm sample.
    With --from NAME the run starts from the weights of a model, on its path and at its size; a prior can become a
    bridge.
    With --objective pix2pix a generator and a critic are trained on pairs, and an image takes one evaluation.
    With --hours the run ends in time: the last validation, samples and checkpoint are included.
    On several GPUs: torchrun --nproc-per-node 2 -m ddbm_cli train ..., or accelerate launch -m ddbm_cli train ...
    """
    shown = Printed(**printed)
    check(TrainCommand, given)
    settings = dict(given)
    config, resume, dry_run = (settings.pop(name, None) for name in ("config", "resume", "dry_run"))
    previewed = settings.pop("preview", False)
    if previewed:
        preview.check()
    preset, show = settings.pop("preset", None), settings.pop("show", False)
    if show and not settings.get("data"):
        settings["data"] = (".",)
    if settings.pop("blind", False):
        settings["sees_source"] = False
    early.train(settings, config=config and Path(config), resume=resume and Path(resume))

    from ddbm_cli.tasks import train as task

    request = task.request(settings, config=config and Path(config), resume=resume and Path(resume), preset=preset)
    if show:
        for line in task.settings_of(request).splitlines():
            terminal.out(line)
        return
    with training.stop_between_steps() as stop:
        events = task.run(request, stop=stop, dry_run=bool(dry_run))
        if launched.is_main():
            code = console.render(
                events, quiet=shown.quiet, json=shown.json, progress=not shown.no_progress, preview=bool(previewed)
            )
        else:
            code = training.quietly(events)
    raise typer.Exit(code)
