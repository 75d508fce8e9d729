"""Options that commands share, each written once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.foundation.errors import UsageError

MODEL, SAMPLING, IMAGE, FILES, SPEED, PRINTED = "Model", "Sampling", "Picture", "Files", "Speed", "What is printed"

Model = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", metavar="NAME", help="As in weights list, org/repo, a file or folder.", rich_help_panel=MODEL
    ),
]
Device = Annotated[
    str, typer.Option("-d", "--device", metavar="NAME", help="auto, cpu, cuda:1, mps.", rich_help_panel=MODEL)
]
Dtype = Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, fp16, bf16.", rich_help_panel=MODEL)]

Sampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME:FIELD=VALUE",
        help="heun:churn=0.33, dbim:eta=0, dbim-2, dbim-3, ode, euler, sde ...",
        rich_help_panel=SAMPLING,
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        metavar="NAME:FIELD=VALUE",
        help="Times: karras:rho=7, uniform, log-snr, listed:at=0.9-0.5-0.1.",
        rich_help_panel=SAMPLING,
    ),
]
NFE = Annotated[
    int | None, typer.Option(metavar="N", help="Budget of network evaluations a picture.", rich_help_panel=SAMPLING)
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Steps, in place of --nfe.", rich_help_panel=SAMPLING)]
Seed = Annotated[
    int,
    typer.Option(
        "-s", "--seed", metavar="N", help="With a picture's name, decides its noise.", rich_help_panel=SAMPLING
    ),
]

NoiseName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name that seeds the noise, for a single input; by default its path below INPUT.",
        rich_help_panel=SAMPLING,
    ),
]
Method = Annotated[
    str, typer.Option(metavar="NAME", help="bridge; or sdedit or ddib, with a prior as -m.", rich_help_panel=SAMPLING)
]
SourceModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="For ddib: the prior of the sources.", rich_help_panel=SAMPLING)
]
Strength = Annotated[
    str | None,
    typer.Option(
        metavar="0..1",
        help="SDEdit's noise level: 0.2 is sigma 0.72, 0.4 2.0, 0.6 6.1, 0.8 25; 0.2,0.4 makes both.",
        rich_help_panel=SAMPLING,
    ),
]
Prompt = Annotated[
    str, typer.Option(metavar="TEXT", help="What the pictures show, with -m diffusers:...", rich_help_panel=SAMPLING)
]
Class = Annotated[
    str | None,
    typer.Option(
        "--class", metavar="NAME", help="What the pictures show, of a model with classes.", rich_help_panel=SAMPLING
    ),
]
GuidanceScale = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="How much that is exaggerated: 1 for not, 7.5 usual for a text.", rich_help_panel=SAMPLING
    ),
]
ImageGuidanceScale = Annotated[
    float, typer.Option(metavar="X", help="How much the source is; 1 for not.", rich_help_panel=SAMPLING)
]
Repeats = Annotated[
    int, typer.Option(metavar="K", help="SDEdit so often, each time from the last result.", rich_help_panel=SAMPLING)
]
Guide = Annotated[
    str | None,
    typer.Option(
        metavar="HOW", help="SDEdit begins with: blur:sigma=4, or colour:FILE or FOLDER.", rich_help_panel=SAMPLING
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="What is white in this file, or folder, may change: of SDEdit, or of models that fill holes.",
        rich_help_panel=SAMPLING,
    ),
]

Fit = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="pad, crop or stretch to the model's square.", rich_help_panel=IMAGE),
]
KeepSize = Annotated[
    bool, typer.Option("--keep-size", help="Bring results to the input's size.", rich_help_panel=IMAGE)
]
Format = Annotated[
    str | None,
    typer.Option(
        "-f",
        "--format",
        metavar="NAME",
        help="png, jpg, webp, tiff, avif; the input's by default.",
        rich_help_panel=IMAGE,
    ),
]
Quality = Annotated[int, typer.Option(metavar="1..100", help="Of jpg, webp, avif.", rich_help_panel=IMAGE)]

Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="PATH", help="The same as OUTPUT.", rich_help_panel=FILES)
]
Recursive = Annotated[
    bool, typer.Option("-r", "--recursive", help="Sub-folders too, mirrored in the output.", rich_help_panel=FILES)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make outputs anew that are there.", rich_help_panel=FILES)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and stop.", rich_help_panel=FILES)]
BatchSize = Annotated[
    str, typer.Option("-b", "--batch-size", metavar="N", help="Pictures at once; auto.", rich_help_panel=SPEED)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results and errors only.", rich_help_panel=PRINTED)]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON record a line on standard output.", rich_help_panel=PRINTED)
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Lines in place of bars.", rich_help_panel=PRINTED)]


def number(option: str, value: str) -> int | None:
    """Return the number that an option gives, None for "auto".

    Raises:
        UsageError: it is neither.
    """
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"{option} {value}: not a number of pictures", hint=f"give {option} 1 or more, or auto")
    return int(value)


def shard() -> tuple[int, int]:
    """Return which process this is, and of how many, as torchrun says it in RANK and WORLD_SIZE; (0, 1) alone.

    Raises:
        UsageError: they do not fit.
    """
    rank, size = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if rank.isdecimal() and size.isdecimal() and int(rank) < int(size):
        return int(rank), int(size)
    raise UsageError(
        f"RANK={rank} and WORLD_SIZE={size} name no process of a group",
        hint="unset both, or start the command with torchrun --nproc-per-node 2 -m ddbm_cli ...",
    )


def numbers(option: str, value: str | None) -> list[float]:
    """Return the numbers that an option lists, parted by commas; none for None.

    Raises:
        UsageError: one is no number.
    """
    try:
        return [] if value is None else list(dict.fromkeys(float(part) for part in value.split(",")))
    except ValueError:
        raise UsageError(
            f"{option} {value}: not numbers", hint=f"write {option} 0.6, or {option} 0.2,0.4,0.6"
        ) from None
