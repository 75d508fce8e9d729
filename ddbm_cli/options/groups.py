"""Options that several commands share, each declared once."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings

MODEL, SAMPLING, CONDITIONS, IMAGE, FILES = "Model", "Sampling", "Conditions and guidance", "Image", "Files"
SPEED, PRINTED, DATA = "Speed", "Messages", "Data"
PANELS = (DATA, MODEL, SAMPLING, CONDITIONS, IMAGE, FILES, SPEED, PRINTED)
"""Sections of help that commands share, in order; a command's own sections come first."""

FROM_CARD = "from the model's card"
CARD_OR_AUTO = "from the model's card, else auto"

OUTPUT_FLAGS: dict[str, tuple[str, ...]] = {"flags": ("-o", "--output"), "aliases": ("--output-dir",)}
BATCH_FLAGS: dict[str, tuple[str, ...]] = {"flags": ("-b", "--batch-size"), "aliases": ("--eval-batch-size",)}
"""Spellings of the output and of the batch size, in all commands."""

Device = Annotated[
    str,
    Field("Device to run on: auto, cpu, cuda, cuda:1, mps.", flags=("-d", "--device"), metavar="NAME", panel=MODEL),
]
Dtype = Annotated[
    Literal["auto", "fp32", "fp16", "bf16"],
    Field(
        "Number type of the network. auto is bf16 on GPUs that have it, and on CPUs where a large network is measured "
        "to be faster in it, else fp32.",
        aliases=("--torch-dtype",),
        metavar="NAME",
        panel=MODEL,
    ),
]
SourceName = Literal[
    "degrade:sr2",
    "degrade:sr4",
    "degrade:sr8",
    "degrade:sr2-bicubic",
    "degrade:sr4-bicubic",
    "degrade:sr8-bicubic",
    "degrade:jpeg5",
    "degrade:jpeg10",
    "degrade:jpeg20",
    "degrade:jpeg50",
    "degrade:blur",
    "degrade:blur-gauss",
    "degrade:inpaint-center",
    "degrade:inpaint-freeform",
    "degrade:inpaint-freeform1020",
    "degrade:inpaint-freeform2030",
    "degrade:inpaint-freeform3040",
    "degrade:grey",
    "degrade:grey-mean",
    "degrade:edges",
]
Source = Annotated[
    SourceName | None,
    Field(
        "Make each source from its target by a degradation, such as degrade:sr4: only targets are needed.",
        metavar="degrade:NAME",
        unset="the sources of the pairs",
        panel=DATA,
    ),
]
Direction = Annotated[
    Literal["AtoB", "BtoA"],
    Field("Which side is the source. BtoA exchanges sources and targets.", metavar="NAME", panel=DATA),
]
_Side = Annotated[int, Field(ge=8, le=4096)]
ImageSize = Annotated[
    _Side | tuple[_Side, _Side],
    Field(
        "Size of images in pixels, 8 to 4096: N for squares, or WIDTHxHEIGHT.",
        aliases=("--resolution",),
        metavar="N|WxH",
        panel=MODEL,
    ),
]
TrainFit = Annotated[
    Literal["pad", "crop", "stretch"] | None,
    Field(
        "How images of another shape are fitted to --size: crop uses the middle, pad adds white borders.",
        metavar="HOW",
        unset="crop; pad for drawings on white",
        panel=DATA,
    ),
]
Augment = Annotated[
    tuple[Literal["flip", "shift", "crop", "scale", "rotate", "colour", "hue"], ...],
    Field(
        "Augmentations of both images of a pair alike, separated by commas, or none.",
        metavar="NAME[,NAME]",
        none="none",
        panel=DATA,
    ),
]
ValShare = Annotated[
    float, Field("Fraction of pairs held out, where the folders hold out none.", ge=0, lt=1, panel=DATA)
]
Sampler = Annotated[
    str | None,
    Field(
        "Sampler, with its settings.",
        aliases=("--scheduler",),
        metavar="NAME:FIELD=VALUE",
        names="samplers",
        unset=CARD_OR_AUTO,
        panel=SAMPLING,
    ),
]
Grid = Annotated[
    str | None,
    Field(
        "Time grid, with its settings, such as karras:rho=7.",
        metavar="NAME:FIELD=VALUE",
        names="grids",
        unset=CARD_OR_AUTO,
        panel=SAMPLING,
    ),
]
NFE = Annotated[
    int | None,
    Field(
        "Budget of network evaluations per image.",
        ge=1,
        le=100_000,
        unset=FROM_CARD,
        excludes=("steps",),
        panel=SAMPLING,
    ),
]
STEPS = Field("Number of sampling steps.", aliases=("--num-inference-steps",), ge=1, le=10_000, panel=SAMPLING)
Steps = Annotated[
    int | None,
    replace(
        STEPS,
        description="Number of sampling steps. One step may take several network evaluations.",
        unset=FROM_CARD,
    ),
]
Seed = Annotated[
    int,
    Field("Random seed, combined with the file name.", flags=("-s", "--seed"), ge=0, le=2**63 - 1, panel=SAMPLING),
]
NoiseName = Annotated[
    str | None,
    Field(
        "Name that seeds the noise together with --seed. Only for a single input.",
        metavar="NAME",
        unset="the path below INPUT",
        panel=SAMPLING,
    ),
]
Recursive = Annotated[
    bool, Field("Include sub-folders, and mirror them in the output.", flags=("-r", "--recursive"), panel=FILES)
]
Overwrite = Annotated[bool, Field("Overwrite existing outputs.", panel=FILES)]
DryRun = Annotated[bool, Field("Print what would be done, and exit.", panel=FILES)]
BatchSize = Annotated[
    int | None,
    Field(
        "Number of images per batch.",
        **BATCH_FLAGS,
        ge=1,
        unset="auto",
        panel=SPEED,
    ),
]
Fit = Annotated[
    Literal["pad", "crop", "stretch"] | None,
    Field("How an image is fitted to the model's size.", metavar="HOW", unset=FROM_CARD, panel=IMAGE),
]

Prepare = Annotated[
    str,
    Field(
        "How inputs are prepared: auto does what the model's card asks for, sketch treats every input as a drawing "
        "(sketch:line_width=1,crop=no), none changes nothing.",
        metavar="HOW",
        panel=IMAGE,
    ),
]


ModelDirection = Annotated[
    Literal["AtoB", "BtoA"],
    Field("Direction of a model that translates in both.", metavar="NAME", panel=MODEL),
]


@settings
class ModelOptions:
    """Which model, and where it runs."""

    model: Annotated[
        str | None,
        Field(
            "Model: a name from `ddbm weights list`, owner/repository, a file or a folder.",
            flags=("-m", "--model"),
            aliases=("--pretrained-model-name-or-path", "--model-id"),
            metavar="NAME",
            unset="sketch-to-3d-64",
            panel=MODEL,
        ),
    ] = None
    direction: ModelDirection = "AtoB"
    device: Device = "auto"
    dtype: Dtype = "auto"
    compile: Annotated[
        bool,
        Field("Compile the network with torch.compile: slow to begin, then faster on most GPUs.", panel=MODEL),
    ] = False
    graph: Annotated[
        bool,
        Field(
            "Sample each batch as one CUDA graph: faster where the network is small for the GPU. Trajectories are not "
            "kept.",
            panel=MODEL,
        ),
    ] = False


@settings
class SamplingOptions:
    """How an image is sampled."""

    nfe: NFE = None
    steps: Steps = None
    sampler: Sampler = None
    grid: Grid = None
    seed: Seed = 0
    metadata: Annotated[
        Literal["full", "basic", "none"],
        Field(
            "What each output stores of how it was made. basic leaves out file names and paths. "
            "Without full, `ddbm show --command` cannot recreate the image.",
            metavar="LEVEL",
            panel=FILES,
        ),
    ] = "full"


Prompt = Annotated[str, Field("Text prompt, for models that take a text.", metavar="TEXT", panel=CONDITIONS)]
PromptsFile = Annotated[
    Path | None,
    Field(
        "File with a prompt for each image: one per line in their order, NAME, a tab and the prompt, or a list. "
        "Without it and --prompt, a text file next to each image, such as a.txt for a.png.",
        metavar="FILE",
        unset="none",
        panel=CONDITIONS,
        excludes=("prompt",),
    ),
]


@settings
class ConditionOptions:
    """What the network is conditioned on besides the source, and how strongly."""

    prompt: Prompt = ""
    class_name: Annotated[
        str | None,
        Field(
            "Class, for a class-conditional model.",
            flags=("--class",),
            aliases=("--class-label",),
            metavar="NAME",
            unset="none",
            panel=CONDITIONS,
        ),
    ] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            "Guidance scale for the class or text (1 = off).",
            ge=0,
            le=1000,
            unset="7.5 for a text and a pipeline of diffusers, else 1",
            panel=CONDITIONS,
        ),
    ] = None
    image_guidance_scale: Annotated[
        float | None,
        Field(
            "Guidance scale for the source image (1 = off).",
            ge=0,
            le=1000,
            unset="1.5 for InstructPix2Pix pipelines, else 1",
            panel=CONDITIONS,
        ),
    ] = None
    perturbed_guidance: Annotated[
        str | None,
        Field(
            "Guidance away from the estimate at a perturbed state, such as noise:scale=1.5. Needs no training; takes "
            "twice the time.",
            metavar="NAME:FIELD=VALUE",
            names="perturbations",
            unset="none",
            panel=CONDITIONS,
        ),
    ] = None


Preview = Annotated[
    bool,
    Field("Show new images in the terminal: sixels, kitty graphics or half blocks (extra preview).", panel=PRINTED),
]


@settings
class Records:
    """Whether results are printed as JSON."""

    json: Annotated[bool, Field("Print one JSON record per line on standard output.", panel=PRINTED)] = False


@settings
class Brief(Records):
    """What is printed by a command without progress bars."""

    quiet: Annotated[bool, Field("Print results and errors only.", flags=("-q", "--quiet"), panel=PRINTED)] = False


@settings
class Printed(Brief):
    """What is printed, and in which form."""

    no_progress: Annotated[bool, Field("Print plain lines instead of progress bars.", panel=PRINTED)] = False
