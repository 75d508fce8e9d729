"""`ddbm train`: options in, events out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ddbm_cli.cli import console, training

RUN, NETWORK, OPTIMISER, CARD = "Run", "Model", "Optimiser", "Words for the model's card"


def train(
    data: Annotated[
        list[Path] | None, typer.Argument(help="Folders of pairs: A/ and B/, or train/A ...; for a prior, of pictures.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")] = Path("runs/train"),
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, with its own settings.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; options on the line win.")] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Begin with a model's weights.", rich_help_panel=NETWORK),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the run.", rich_help_panel=OPTIMISER)] = None,
    hours: Annotated[float | None, typer.Option(help="Stop after so long; --resume goes on.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side.", rich_help_panel=NETWORK)] = None,
    network: Annotated[
        str | None, typer.Option(help="Such as adm:channels=64,patch=2.", rich_help_panel=NETWORK)
    ] = None,
    path: Annotated[str | None, typer.Option(help="Such as vp-bridge or brownian.", rich_help_panel=NETWORK)] = None,
    prediction: Annotated[str | None, typer.Option(help="What the network gives.", rich_help_panel=NETWORK)] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="The network gets the state alone, no source.", rich_help_panel=NETWORK)
    ] = False,
    classes: Annotated[
        bool, typer.Option("--classes", help="Tell it each picture's class: its folder.", rich_help_panel=NETWORK)
    ] = False,
    drop: Annotated[
        float | None,
        typer.Option(help="Share without source, without class, without both: for guidance.", rich_help_panel=NETWORK),
    ] = None,
    times: Annotated[str | None, typer.Option(help="Law of the times.", rich_help_panel=OPTIMISER)] = None,
    objective: Annotated[
        str | None, typer.Option(help="denoising, or pix2pix:l1=100.", rich_help_panel=OPTIMISER)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", help="Pairs in a step.", rich_help_panel=OPTIMISER)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's.", rich_help_panel=OPTIMISER)] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps to reach it.", rich_help_panel=OPTIMISER)] = None,
    decay: Annotated[
        float | None, typer.Option(help="Last share of the run, that leads it to 0.", rich_help_panel=OPTIMISER)
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's.", rich_help_panel=OPTIMISER)] = None,
    momentum: Annotated[float | None, typer.Option(help="AdamW's beta_1.", rich_help_panel=OPTIMISER)] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of the average of the weights.", rich_help_panel=OPTIMISER)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.", rich_help_panel=OPTIMISER)] = None,
    augment: Annotated[str | None, typer.Option(help="Any of flip,shift; or none.", rich_help_panel=OPTIMISER)] = None,
    val_share: Annotated[float | None, typer.Option(help="Share held out, where the folders do not say.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between looks at held-out pairs.")] = None,
    seed: Annotated[int | None, typer.Option("-s", "--seed", help="Of weights, order, noise.")] = None,
    device: Annotated[str | None, typer.Option("-d", "--device", help="auto, cpu, cuda:1, mps.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name.", rich_help_panel=CARD)] = None,
    task: Annotated[str | None, typer.Option(help='Such as "sketch -> photo"; or prior.', rich_help_panel=CARD)] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights.", rich_help_panel=CARD)] = None,
    data_note: Annotated[str | None, typer.Option(help="What it was trained on.", rich_help_panel=CARD)] = None,
    limits: Annotated[str | None, typer.Option(help="What it cannot do.", rich_help_panel=CARD)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the model's path and errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON record a line on standard output.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No bars.")] = False,
) -> None:
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
    from ddbm_cli.tasks import train as task_module

    flat: dict[str, Any] = {"network": network, "path": path, "prediction": prediction, "times": times, "size": size}
    flat |= {"objective": objective, "start_from": start_from}
    flat |= {"hours": hours, "val_share": val_share, "device": device, "name": name, "task": task, "licence": licence}
    flat |= {"data_note": data_note, "limits": limits, "data": data or None, "output": resume or output}
    flat |= {"drop": drop, "classes": classes or None}
    if blind:
        flat["sees_source"] = False
    if augment is not None:
        flat["augment"] = [kind for kind in augment.split(",") if kind != "none"]
    recipe: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    recipe |= {"warmup": warmup, "decay": decay, "weight_decay": weight_decay, "ema": ema, "seed": seed}
    recipe |= {"momentum": momentum}
    recipe |= {"precision": precision, "save_every": save_every, "validate_every": validate_every}
    given = {key: value for key, value in flat.items() if value is not None}
    given["recipe"] = {key: value for key, value in recipe.items() if value is not None}
    request = task_module.request(given, config=config, resume=resume)
    with training.stop_between_steps() as stop:
        events = task_module.run(request, stop=stop, dry_run=dry_run)
        code = console.render(events, quiet=quiet, json=json, progress=not no_progress)
    raise typer.Exit(code)
