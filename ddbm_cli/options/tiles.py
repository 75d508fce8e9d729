"""Images in tiles: what `--tile` takes."""

from typing import Annotated

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field
from ddbm_cli.options.groups import IMAGE

AUTO, OFF = "auto", "0"

MOST = 4096
"""Side of the largest tile, in pixels."""

Tile = Annotated[
    str,
    Field(
        "Translate images in their own size, in overlapping tiles that are blended at every network evaluation: N for "
        "tiles of N pixels, auto for tiles of the model's size where the input is larger, 0 to resize inputs to the "
        "model's size. --batch-size is then the number of tiles at once.",
        metavar="auto|N|0",
        panel=IMAGE,
    ),
]
TileOverlap = Annotated[
    int | None,
    Field("Pixels that neighbouring tiles share, at least.", ge=0, lt=MOST, unset="a quarter of a tile", panel=IMAGE),
]


def read_tile(spec: str) -> str | int:
    """Return AUTO, or the side of tiles in pixels; 0 for no tiles.

    Raises:
        UsageError: it is neither.
    """
    if spec == AUTO:
        return AUTO
    if not (spec.isascii() and spec.isdecimal() and int(spec[:9]) <= MOST):
        raise UsageError(f"--tile {spec}: unknown value", hint=f"pass auto, 0, or a side from 1 to {MOST} pixels")
    return int(spec)
