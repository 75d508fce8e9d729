"""The options of `ddbm sample`."""

from pathlib import Path
from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.extras import ExtraOptions
from ddbm_cli.options.groups import (
    FILES,
    OUTPUT_FLAGS,
    SAMPLING,
    BatchSize,
    ConditionOptions,
    DryRun,
    Fit,
    ModelOptions,
    NoiseName,
    Overwrite,
    Prepare,
    Preview,
    Recursive,
    SamplingOptions,
)


@settings
class SampleRequest(ExtraOptions, ConditionOptions, SamplingOptions, ModelOptions):
    """How many images to sample, and how; None leaves a choice to the model's card, or for `batch_size` to the device.

    shard: (i, n) to sample every n-th image from the i-th on, as one of n processes; the last one to find all images
        written also writes the files that show them together.
    npz: holds uint8 (N, H, W, 3) under "arr_0".
    """

    source: Annotated[
        str | None,
        Field(
            "File, folder or quoted pattern, for a bridge.",
            argument=True,
            metavar="[SOURCES]",
            unset="none, for a prior",
        ),
    ] = None
    output: Annotated[
        Path,
        Field(
            "Output folder: 000000.png ... for a prior, NAME/000.png ... for a bridge.",
            **OUTPUT_FLAGS,
            metavar="FOLDER",
            panel=FILES,
        ),
    ]
    number: Annotated[
        int,
        Field(
            "Number of images, or of draws per source.",
            flags=("-n", "--number"),
            aliases=("--num-images", "--num-samples", "--num-images-per-prompt"),
            ge=1,
            le=10**6,
            panel=SAMPLING,
        ),
    ] = 16
    start: Annotated[
        int, Field("Number of the first image, or of the first draw of each source.", ge=0, le=10**9, panel=SAMPLING)
    ] = 0
    interpolate: Annotated[
        int, Field("Number of images between each draw of a source and the next.", ge=0, le=10_000, panel=SAMPLING)
    ] = 0
    encode: Annotated[
        Path | None,
        Field(
            "True images of the sources, a file or folder: draw 0 is decoded from their noise (DBIM).",
            metavar="PATH",
            unset="none",
            panel=SAMPLING,
        ),
    ] = None
    noise_name: NoiseName = None
    prepare: Prepare = "auto"
    fit: Fit = None
    npz: Annotated[
        Path | None,
        Field("Write all images as one NumPy array, for evaluators.", metavar="FILE", unset="none", panel=FILES),
    ] = None
    recursive: Recursive = False
    overwrite: Overwrite = False
    dry_run: DryRun = False
    batch_size: BatchSize = None
    shard: tuple[int, int] = (0, 1)


@settings
class SampleCommand(SampleRequest):
    """What the command line gives."""

    preview: Preview = False
