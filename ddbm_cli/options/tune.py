"""The options of `ddbm tune`."""

from pathlib import Path
from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import BATCH_FLAGS, DATA, OUTPUT_FLAGS, SAMPLING, SPEED, Device, Dtype, Overwrite

SEARCH = "Search"

MOST_BUDGETS = 64
"""Largest number of budgets that a card holds settings of."""


@settings
class TuneRequest:
    """What to tune, on which images."""

    model: Annotated[
        str,
        Field("Model: a name from `ddbm weights list`, a file or a folder of a run.", argument=True, metavar="MODEL"),
    ]
    data: Annotated[
        tuple[Path, ...],
        Field(
            "Folder or list of pairs; for a prior, images. Images that the model or the folder holds out are not used.",
            argument=True,
            metavar="DATA...",
            repeat=True,
        ),
    ]
    nfe: Annotated[
        tuple[int, ...],
        Field("Budgets of network evaluations, separated by commas.", metavar="N[,N]", panel=SAMPLING),
    ] = (4, 6, 10)
    output: Annotated[
        Path | None,
        Field(
            "Model file to write.",
            **OUTPUT_FLAGS,
            metavar="FILE",
            unset="MODEL itself, if it is a file",
        ),
    ] = None
    images: Annotated[
        int, Field("Number of images of the search; as many others measure the gain.", ge=2, le=10_000, panel=SEARCH)
    ] = 16
    teacher: Annotated[
        int, Field("Network evaluations of the solution that is aimed at.", ge=8, le=10_000, panel=SEARCH)
    ] = 100
    sweeps: Annotated[int, Field("How often each time is moved, at most.", ge=0, le=100, panel=SEARCH)] = 2
    places: Annotated[
        int, Field("Places between its neighbours that are tried for a time.", ge=1, le=1000, panel=SEARCH)
    ] = 5
    val_share: Annotated[
        float, Field("Fraction of pairs held out, where the folders hold out none.", ge=0, lt=1, panel=DATA)
    ] = 0.1
    seed: Annotated[int, Field("Random seed of the noise.", flags=("-s", "--seed"), ge=0, le=2**63 - 1)] = 0
    overwrite: Overwrite = False
    device: Device = "auto"
    dtype: Dtype = "auto"
    batch_size: Annotated[int, Field("Number of images per batch.", **BATCH_FLAGS, ge=1, le=100_000, panel=SPEED)] = 16
