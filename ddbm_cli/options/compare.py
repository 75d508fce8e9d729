"""The options of `ddbm compare`."""

from pathlib import Path
from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import (
    CONDITIONS,
    FILES,
    SAMPLING,
    BatchSize,
    ModelOptions,
    Overwrite,
    Prepare,
    Prompt,
    PromptsFile,
    Recursive,
    Seed,
)

DEFAULT_METHODS = ("default", "fast", "ddbm:40", "dbim:20", "dbim-3:20", "sdedit:0.2,0.4,0.6")
"""The model with its card's settings, its version of few evaluations if it has one, the papers' samplers, and SDEdit
with the built-in prior."""

Targets = Annotated[
    Path | None,
    Field(
        "Target images: a folder with the file names of the inputs, or a file for one input.",
        flags=("-t", "--targets"),
        metavar="PATH",
        unset="none",
        panel=FILES,
    ),
]


@settings
class CompareRequest(ModelOptions):
    """What to compare, and the files to write.

    methods: in the form of `comparison.method`.
    """

    source: Annotated[
        str | None,
        Field("File, folder or quoted pattern.", argument=True, metavar="[INPUT]", unset="the built-in sketches"),
    ] = None
    methods: Annotated[
        tuple[str, ...],
        Field(
            "Method to compare: heun:churn=0.33,nfe=119, dbim:10, default ... Repeat it for several.",
            flags=("--with",),
            metavar="METHOD",
            repeat=True,
            min_length=1,
            panel=SAMPLING,
        ),
    ] = DEFAULT_METHODS
    prompt: Prompt = ""
    prompts: PromptsFile = None
    sweep: Annotated[
        tuple[str, ...],
        Field(
            "Run each method that sets no such scale with several values of one: image-guidance-scale=1,1.5,2. Repeat "
            "it for all combinations of two.",
            metavar="NAME=X,X",
            repeat=True,
            unset="none",
            panel=CONDITIONS,
        ),
    ] = ()
    nfe: Annotated[
        int | None,
        Field(
            "Budget of network evaluations per image, for methods that set none.",
            ge=1,
            le=100_000,
            unset="each method's own",
            excludes=("seconds",),
            panel=SAMPLING,
        ),
    ] = None
    seconds: Annotated[
        float | None,
        Field("Budget of measured time per image, in seconds.", gt=0, unset="none", panel=SAMPLING),
    ] = None
    seed: Seed = 0
    trajectories: Annotated[
        int, Field("Number of inputs whose sampling trajectory is shown.", ge=0, panel=SAMPLING)
    ] = 16
    prepare: Prepare = "auto"
    targets: Targets = None
    outputs: Annotated[
        tuple[Path, ...],
        Field(
            "File to write; it ends in .html, .md, .json, .csv or .png. Repeat it for several.",
            flags=("-o", "--output"),
            metavar="FILE",
            repeat=True,
            min_length=1,
            panel=FILES,
        ),
    ] = (Path("comparison.html"),)
    recursive: Recursive = False
    overwrite: Overwrite = False
    batch_size: BatchSize = None
