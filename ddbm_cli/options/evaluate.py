"""The options of `ddbm evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import BATCH_FLAGS, PRINTED, SPEED, Device, Printed

COMPARED, FIGURES = "What is compared", "Figures"


@settings
class EvaluateRequest:
    """What to measure.

    outputs, targets, sketches, draws: folders with sub-folders, or single files. Files that belong together have the
    same path below their folder, but for the extension.
    """

    outputs: Annotated[
        Path, Field("Image, or folder of images with its sub-folders.", argument=True, metavar="OUTPUTS")
    ]
    targets: Annotated[
        Path | None,
        Field(
            "Target images with the same file names, any set of images, or a statistics file (.npz) for FID.",
            argument=True,
            metavar="[TARGETS]",
            unset="none",
        ),
    ] = None
    sketches: Annotated[
        Path | None,
        Field("Source images, to measure whether edges are kept.", metavar="PATH", unset="none", panel=COMPARED),
    ] = None
    draws: Annotated[
        tuple[Path, ...],
        Field(
            "Further outputs of the same sources. Repeat it for several.",
            metavar="FOLDER",
            repeat=True,
            unset="none",
            panel=COMPARED,
        ),
    ] = ()
    prior: Annotated[
        str | None,
        Field(
            "Prior that gives the likelihood of the outputs.",
            flags=("-m", "--model"),
            metavar="NAME",
            unset="none",
            panel=COMPARED,
        ),
    ] = None
    cycle: Annotated[
        str | None,
        Field(
            "Model of two directions that made the outputs: translate them back, and measure the distance to the "
            "sources (--sketches).",
            metavar="NAME",
            unset="none",
            panel=COMPARED,
        ),
    ] = None
    direction: Annotated[
        Literal["AtoB", "BtoA"],
        Field("For --cycle: the direction in which the outputs were made.", metavar="NAME", panel=COMPARED),
    ] = "AtoB"
    resize: Annotated[
        Literal["outputs", "targets"] | None,
        Field(
            "Resize these images to the size of the others, where they differ.",
            metavar="SIDE",
            unset="none",
            panel=COMPARED,
        ),
    ] = None
    unpaired: Annotated[
        bool,
        Field("Compare outputs and targets as two sets: file names and numbers may differ.", panel=COMPARED),
    ] = False
    metrics: Annotated[
        tuple[str, ...] | None,
        Field(
            "Metrics, separated by commas.",
            metavar="NAME[,NAME]",
            names="metrics",
            unset="all that fit what is given",
            panel=FIGURES,
        ),
    ] = None
    steps: Annotated[int, Field("Steps of the ODE that gives the likelihood.", ge=1, le=10_000, panel=FIGURES)] = 96
    seed: Annotated[
        int, Field("Random seed of the bootstrap and the likelihood.", flags=("-s", "--seed"), ge=0, panel=FIGURES)
    ] = 0
    per_image: Annotated[
        Path | None,
        Field("Write a table with one row per image.", metavar="FILE.csv", unset="none", panel=FIGURES),
    ] = None
    overwrite: Annotated[bool, Field("Overwrite the table of --per-image.", panel=FIGURES)] = False
    batch_size: Annotated[
        int,
        Field(
            "Number of images per batch.",
            **BATCH_FLAGS,
            ge=1,
            le=100_000,
            panel=SPEED,
        ),
    ] = 32
    device: Device = "auto"


@settings
class Form(Printed):
    """What is printed, and in which form."""

    csv: Annotated[bool, Field("Print the table as CSV on standard output.", excludes=("json",), panel=PRINTED)] = False
