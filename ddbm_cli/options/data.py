"""The options of `ddbm data`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.captions import CaptionOptions
from ddbm_cli.options.groups import (
    DATA,
    FILES,
    Augment,
    Direction,
    DryRun,
    ImageSize,
    Overwrite,
    Recursive,
    Source,
    TrainFit,
    ValShare,
)

SKETCH = "Sketch"
EDITS = "Edits"

EditName = Literal[
    "recolour",
    "darker",
    "lighter",
    "grey",
    "flip",
    "upside-down",
    "outline",
    "stripes",
    "remove-background",
    "erase",
]
"""The kinds of edits, in `imaging.edits.EDITS`."""

Pictures = Annotated[Path, Field("Folder of images.", argument=True, metavar="IMAGES")]
PairsFolder = Annotated[Path, Field("Folder for the pairs.", argument=True, metavar="OUT")]
PAIR_SIZE = Field("Height and width, in pixels.", aliases=("--resolution",), ge=8, le=2048)
PAIR_SEED = Field("Random seed, combined with the file name.", flags=("-s", "--seed"))
SplitBy = Annotated[
    Path | None,
    Field(
        "Table (csv or tsv) with columns file and split, for folders or lists of the splits.",
        metavar="FILE",
        unset="none",
        panel=FILES,
    ),
]


@settings
class EdgesRequest:
    """What to draw, and the folder to write to.

    seed: an image gets the same sketch for the same seed, independent of the other images.
    """

    pictures: Pictures
    output: PairsFolder
    size: Annotated[int, replace(PAIR_SIZE, panel=SKETCH)] = 64
    style: Annotated[
        Literal["ink", "pencil", "mixed"],
        Field("Style: black ink, coloured pencil, or some of each.", metavar="NAME", panel=SKETCH),
    ] = "mixed"
    pencil_share: Annotated[
        float, Field("Fraction of pencil sketches with --style mixed.", ge=0, le=1, panel=SKETCH)
    ] = 0.6
    hand: Annotated[
        Literal["plain", "thin", "thick", "broken", "wavy", "varied"],
        Field(
            "Lines as they are found, thin, thick, with gaps, or of an unsteady hand; varied for some of each.",
            metavar="NAME",
            panel=SKETCH,
        ),
    ] = "plain"
    hand_strength: Annotated[
        float, Field("How much --hand changes: 1 as usual, 0 for nothing.", ge=0, le=2, panel=SKETCH)
    ] = 1.0
    seed: Annotated[int, replace(PAIR_SEED, panel=SKETCH)] = 0
    recursive: Recursive = False
    split_by: SplitBy = None
    overwrite: Overwrite = False
    dry_run: DryRun = False


@settings
class InstructRequest(CaptionOptions):
    """Which images to edit, or which captions to make images of, and the folder to write to.

    seed: an image gets the same edits for the same seed, independent of the other images; a caption the same images.
    """

    pictures: Annotated[
        Path,
        Field(
            "Folder of images; or list of captions before and after an edit, with its instruction.",
            argument=True,
            metavar="IMAGES",
        ),
    ]
    output: PairsFolder
    size: Annotated[
        int | None,
        replace(PAIR_SIZE, unset="64; for captions, what the model makes", panel=EDITS),
    ] = None
    edits: Annotated[
        tuple[EditName, ...],
        Field("Kinds of edits, separated by commas.", metavar="NAME[,NAME]", min_length=1, panel=EDITS),
    ] = get_args(EditName)
    per_image: Annotated[
        int,
        Field(
            "Number of edits per image, of different kinds; of pairs per caption, at most.", ge=1, le=64, panel=EDITS
        ),
    ] = 4
    seed: Annotated[int, replace(PAIR_SEED, panel=EDITS)] = 0
    recursive: Recursive = False
    split_by: SplitBy = None
    variants: Annotated[
        Path | None,
        Field(
            "Table (csv or tsv) with columns file, object and skin_tones: images of one object in several skin tones "
            "are paired.",
            metavar="FILE",
            unset="none",
            panel=FILES,
        ),
    ] = None
    overwrite: Overwrite = False
    dry_run: DryRun = False


@settings
class DataOptions:
    """Which data, as `ddbm train` takes them."""

    data: Annotated[
        tuple[Path, ...],
        Field("Folders of pairs, or lists of pairs, as for ddbm train.", argument=True, metavar="DATA...", repeat=True),
    ]
    prior: Annotated[bool, Field("Use images alone, as for a prior.", panel=DATA)] = False
    source: Source = None
    direction: Direction = "AtoB"
    size: ImageSize = 64
    fit: TrainFit = None
    val_share: ValShare = 0.05


@settings
class CheckRequest(DataOptions):
    """What data to check."""

    fix: Annotated[
        Path | None,
        Field(
            "Write a list of the pairs that can be used, for ddbm train. No image is moved or changed.",
            metavar="FILE.csv",
            unset="none",
            panel=FILES,
        ),
    ] = None
    overwrite: Overwrite = False


@settings
class PreviewRequest(DataOptions):
    """What data to show, and how they are augmented."""

    output: Annotated[Path, Field("Image to write.", flags=("-o", "--output"), metavar="FILE", panel=FILES)] = Path(
        "preview.png"
    )
    count: Annotated[int, Field("Number of pairs.", flags=("-n", "--count"), ge=1, le=1024, panel=DATA)] = 16
    step: Annotated[int, Field("Step of the training that is shown, from 0.", ge=0, panel=DATA)] = 0
    augment: Augment = ("flip", "shift")
    seed: Annotated[int, Field("Random seed of the training.", flags=("-s", "--seed"), panel=DATA)] = 0
    overwrite: Overwrite = False
