"""What `ddbm data` can be asked."""

from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import FILES, DryRun, Overwrite, Recursive

SKETCH = "Sketch"


@settings
class EdgesRequest:
    """What to draw, and the folder to write to.

    seed: an image gets the same sketch for the same seed, independent of the other images.
    """

    pictures: Annotated[Path, Field("Folder of images.", argument=True, metavar="IMAGES")]
    output: Annotated[Path, Field("Folder for the pairs.", argument=True, metavar="OUT")]
    size: Annotated[
        int, Field("Height and width, in pixels.", aliases=("--resolution",), ge=8, le=2048, panel=SKETCH)
    ] = 64
    style: Annotated[
        Literal["ink", "pencil", "mixed"],
        Field("Style: black ink, coloured pencil, or some of each.", metavar="NAME", panel=SKETCH),
    ] = "mixed"
    pencil_share: Annotated[
        float, Field("Fraction of pencil sketches with --style mixed.", ge=0, le=1, panel=SKETCH)
    ] = 0.6
    seed: Annotated[int, Field("Random seed, combined with the file name.", flags=("-s", "--seed"), panel=SKETCH)] = 0
    recursive: Recursive = False
    split_by: Annotated[
        Path | None,
        Field(
            "Table (csv or tsv) with columns file and split: write OUT/SPLIT/A and OUT/SPLIT/B.",
            metavar="FILE",
            unset="none",
            panel=FILES,
        ),
    ] = None
    overwrite: Overwrite = False
    dry_run: DryRun = False
