"""The options of `ddbm weights`, `ddbm show`, `ddbm doctor` and `ddbm manual`."""

from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import Device, DryRun, Overwrite

REFERENCE = "Model: a name from `ddbm weights list`, owner/repository[@revision][:file], a file or a folder."

Model = Annotated[str, Field(REFERENCE, argument=True, metavar="MODEL")]
Name = Annotated[str, Field(REFERENCE, argument=True, metavar="NAME")]
Names = Annotated[tuple[str, ...], Field(REFERENCE, argument=True, metavar="NAME...", repeat=True)]
StoredDtype = Annotated[
    Literal["fp32", "fp16", "bf16"] | None,
    Field("Number type of the stored weights.", metavar="NAME", unset="as in the input"),
]


@settings
class NameOptions:
    """One model."""

    name: Name


@settings
class PullOptions:
    """Which models to download."""

    names: Names
    dry_run: DryRun = False
    accept_change: Annotated[bool, Field("Accept a file that differs from the first download of the same name.")] = (
        False
    )


@settings
class VerifyOptions:
    """Which models to verify."""

    names: Annotated[
        tuple[str, ...],
        Field(REFERENCE, argument=True, metavar="[NAME...]", repeat=True, unset="all that are downloaded"),
    ] = ()
    check: Annotated[bool, Field("Also run each model on a known image.")] = False


@settings
class RemoveOptions:
    """Which models to remove."""

    names: Names
    yes: Annotated[bool, Field("Do not ask for confirmation.", flags=("-y", "--yes"))] = False


@settings
class ImportOptions:
    """What to import, and how."""

    file: Annotated[
        Path, Field("A .pt, .ckpt or .safetensors file, or a diffusers folder.", argument=True, metavar="FILE")
    ]
    like: Annotated[
        str | None,
        Field(
            "The model that the file holds: a name from `ddbm weights list`.",
            metavar="NAME",
            unset="from the file's own card",
        ),
    ] = None
    output: Annotated[
        Path | None,
        Field("File to write.", flags=("-o", "--output"), metavar="FILE", unset="NAME.safetensors"),
    ] = None
    dtype: StoredDtype = None
    overwrite: Overwrite = False


@settings
class ExportOptions:
    """What to export, and how."""

    model: Model
    output: Annotated[Path, Field("File, or for diffusers a folder.", argument=True, metavar="OUTPUT")]
    format: Annotated[
        Literal["safetensors", "diffusers"],
        Field("Layout: one file, or a diffusers folder.", flags=("-f", "--format"), metavar="NAME"),
    ] = "safetensors"
    direction: Annotated[
        Literal["AtoB", "BtoA"] | None,
        Field("Export one direction of a model that translates in both.", metavar="NAME", unset="both"),
    ] = None
    dtype: StoredDtype = None
    overwrite: Overwrite = False


@settings
class PushOptions:
    """What to upload, and where."""

    model: Model
    repo: Annotated[str, Field("Repository on the hub.", argument=True, metavar="OWNER/NAME")]
    public: Annotated[bool, Field("Make a new repository public.")] = False
    dtype: StoredDtype = None
    dry_run: DryRun = False


@settings
class ShowOptions:
    """What to show."""

    file: Annotated[Path, Field("Model, or image written by ddbm.", argument=True, metavar="FILE")]
    command: Annotated[bool, Field("Print the command that recreates the image.")] = False
    search: Annotated[
        tuple[Path, ...],
        Field(
            "With --command: folder to search for inputs and the model. Repeat it for several.",
            metavar="FOLDER",
            repeat=True,
            unset="none",
        ),
    ] = ()


@settings
class DoctorOptions:
    """Which device to check."""

    device: Device = "auto"


@settings
class ManualOptions:
    """Which page to show."""

    topic: Annotated[
        str | None, Field("Page of the manual.", argument=True, metavar="[TOPIC]", unset="the list of pages")
    ] = None
