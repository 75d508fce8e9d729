"""The options of `ddbm translate`."""

from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.extras import ExtraOptions
from ddbm_cli.options.folder import FolderOptions
from ddbm_cli.options.groups import (
    FILES,
    IMAGE,
    MODEL,
    OUTPUT_FLAGS,
    SAMPLING,
    BatchSize,
    ConditionOptions,
    DryRun,
    Fit,
    ModelOptions,
    NoiseName,
    Prepare,
    Preview,
    PromptsFile,
    Recursive,
    SamplingOptions,
)
from ddbm_cli.options.tiles import OFF, Tile, TileOverlap

Share = Annotated[float, Field(ge=0, le=1)]


OUTPUT = Field("File, folder, or - for standard output.", argument=True, metavar="[OUTPUT]", unset="next to the input")
SOURCE = "File, folder, quoted pattern, or - for standard input."
STRENGTH = (
    "From 0, the input, to 1: for bridges and colour-transfer, where the trajectory ends; for sdedit, the noise level."
)
LEVELS = "0.2 is sigma 0.72, 0.4 is 2.0, 0.6 is 6.1, 0.8 is 25."


@settings
class TranslateOptions(ExtraOptions, FolderOptions, ConditionOptions, SamplingOptions, ModelOptions):
    """How to translate; None leaves a choice to the model's card, or for `batch_size` to the device.

    shard: (i, n) to process every n-th image from the i-th on, as one of n processes.
    model_sha256: digest that the model should have, "" for any; another one is reported.
    to_folder: the output is a folder even if its name has an extension: its path was written with a slash at the end.
    """

    method: Annotated[
        Literal["bridge", "sdedit", "ddib", "colour-transfer"],
        Field(
            "Method. sdedit and ddib take a prior as -m; colour-transfer takes no model.",
            metavar="NAME",
            panel=SAMPLING,
        ),
    ] = "bridge"
    fast: Annotated[
        bool,
        Field(
            "Use the version of the model that was distilled for few network evaluations, two for the built-in one.",
            panel=SAMPLING,
        ),
    ] = False
    source_model: Annotated[
        str | None, Field("For ddib: the prior of the sources.", metavar="NAME", unset="none", panel=SAMPLING)
    ] = None
    to: Annotated[
        Path | None,
        Field(
            "For colour-transfer: images whose colours the results get, a file or folder.",
            metavar="PATH",
            unset="none",
            panel=SAMPLING,
        ),
    ] = None
    colours_from: Annotated[
        Path | None,
        Field(
            "For colour-transfer: images whose colours are moved to those of --to, a file or folder.",
            metavar="PATH",
            unset="INPUT",
            panel=SAMPLING,
        ),
    ] = None
    colour_space: Annotated[
        str,
        Field(
            "For colour-transfer: what is moved: colours in opponent or rgb, or patches:side=4,components=12; with "
            "keep_white=yes white paper stays.",
            metavar="NAME:FIELD=VALUE",
            names="colour_spaces",
            panel=SAMPLING,
        ),
    ] = "opponent"
    repeats: Annotated[
        int,
        Field("For sdedit: number of repetitions, each starting from the last result.", ge=1, le=100, panel=SAMPLING),
    ] = 1
    guide: Annotated[
        str | None,
        Field(
            "For sdedit: start from blur:sigma=4 of the input, or with colours from colour:FILE or colour:FOLDER.",
            metavar="HOW",
            unset="the input itself",
            panel=SAMPLING,
        ),
    ] = None
    mask: Annotated[
        Path | None,
        Field(
            "File or folder of masks: only white areas may change. For sdedit and for inpainting models.",
            aliases=("--mask-image",),
            metavar="PATH",
            unset="none",
            panel=SAMPLING,
        ),
    ] = None
    prompts: PromptsFile = None
    noise_name: NoiseName = None
    number: Annotated[
        int,
        Field(
            "Number of draws of each input, with noise of their own.",
            flags=("-n", "--number"),
            aliases=("--num-images-per-prompt",),
            ge=1,
            le=10_000,
            panel=SAMPLING,
        ),
    ] = 1
    start: Annotated[int, Field("Number of the first draw.", ge=0, le=10**9, panel=SAMPLING)] = 0
    prepare: Prepare = "auto"
    objects: Annotated[
        Literal["auto", "one"],
        Field(
            "Separate objects of a drawing: auto translates each and puts it back in its place, one translates all "
            "of the drawing at once.",
            metavar="HOW",
            panel=IMAGE,
        ),
    ] = "auto"
    save_prepared: Annotated[
        Path | None,
        Field("Folder for the prepared inputs, as png.", metavar="FOLDER", unset="none", panel=FILES),
    ] = None
    strict: Annotated[
        bool, Field("Fail for inputs that the model does not expect, in place of a note.", panel=FILES)
    ] = False
    fit: Fit = None
    keep_size: Annotated[
        bool, Field("Resize results, which have the model's resolution, to the input's size.", panel=IMAGE)
    ] = False
    tile: Tile = OFF
    tile_overlap: TileOverlap = None
    alpha: Annotated[
        Literal["white", "keep", "cut"],
        Field(
            "Transparency of results: white for none, keep for the silhouette of a transparent input, cut to remove "
            "the background. Not for jpg.",
            metavar="HOW",
            panel=IMAGE,
        ),
    ] = "white"
    format: Annotated[
        str | None,
        Field(
            "File format of results.",
            flags=("-f", "--format"),
            metavar="NAME",
            names="formats",
            unset="as OUTPUT or the input",
            panel=IMAGE,
        ),
    ] = None
    quality: Annotated[int, Field("Quality of jpg, webp and avif files.", ge=1, le=100, panel=IMAGE)] = 95
    bits: Annotated[
        Literal["8", "16"], Field("Bits per channel of results; 16 for png only.", metavar="N", panel=IMAGE)
    ] = "8"
    recursive: Recursive = False
    dry_run: DryRun = False
    batch_size: BatchSize = None
    shard: tuple[int, int] = (0, 1)
    model_sha256: str = ""
    to_folder: bool = False


@settings
class TranslateRequest(TranslateOptions):
    """What to translate, and how."""

    source: Annotated[str, Field(SOURCE, argument=True, metavar="INPUT")]
    output: Annotated[Path | None, OUTPUT] = None
    strength: Annotated[
        float | None,
        Field(f"{STRENGTH} {LEVELS}", ge=0, le=1, unset="0.6 for sdedit, else 1", panel=SAMPLING),
    ] = None


@settings
class TranslateCommand(TranslateOptions):
    """What the command line gives: several strengths, and options in place of arguments."""

    source: Annotated[str | None, Field(SOURCE, argument=True, metavar="[INPUT]", unset="none")] = None
    output: Annotated[str | None, OUTPUT] = None
    strength: Annotated[
        tuple[Share, ...],
        Field(
            f"{STRENGTH} {LEVELS} Several, such as 0.2,0.4, write a folder each.",
            metavar="X[,X]",
            unset="0.6 for sdedit, else 1",
            panel=SAMPLING,
        ),
    ] = ()
    sweep: Annotated[
        tuple[str, ...],
        Field(
            "Translate with several values of a scale, --strength, --nfe, --steps or --seed, each into a folder, and "
            "write OUTPUT/sweep.png: image-guidance-scale=1,1.5,2. Repeat it for a grid of two.",
            metavar="NAME=X,X",
            repeat=True,
            unset="none",
            panel=SAMPLING,
        ),
    ] = ()
    preview: Preview = False
    watch: Annotated[
        bool,
        Field(
            "Translate images as they arrive in the folder INPUT, until Ctrl-C (extra watch).",
            panel=FILES,
            excludes=("limit", "retry", "dry_run", "sheet", "sweep"),
        ),
    ] = False
    from_image: Annotated[
        Path | None,
        Field(
            "Use the settings and the model of an image that ddbm made; options that are given win.",
            flags=("--from",),
            metavar="IMAGE",
            unset="none",
            panel=MODEL,
        ),
    ] = None
    source_option: Annotated[
        str | None, Field("Same as INPUT.", flags=("-i", "--input"), hidden=True, unset="none")
    ] = None
    output_option: Annotated[
        str | None,
        Field(
            "Same as OUTPUT.",
            **OUTPUT_FLAGS,
            metavar="PATH",
            unset="none",
            panel=FILES,
        ),
    ] = None
