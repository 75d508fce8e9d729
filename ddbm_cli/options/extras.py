"""Options for files that are written next to the results: how draws differ, and how each result came about."""

from pathlib import Path
from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import FILES


@settings
class ExtraOptions:
    """What is written in addition to the results."""

    spread: Annotated[
        bool,
        Field("Write NAME-spread.png: the standard deviation of the draws per pixel, white at 64 of 255.", panel=FILES),
    ] = False
    sheet: Annotated[Path | None, Field("Write a contact sheet (png).", metavar="FILE", unset="none", panel=FILES)] = (
        None
    )
    gif: Annotated[
        bool, Field("Write NAME-steps.gif: the states of sampling, and the result, as an animation.", panel=FILES)
    ] = False
    strip: Annotated[
        bool,
        Field("Write NAME-strip.png: states of sampling above, the network's estimates below.", panel=FILES),
    ] = False
    steps_dir: Annotated[
        Path | None,
        Field(
            "Folder for the states and estimates of sampling, as NAME/000-state.png and NAME/000-estimate.png.",
            metavar="FOLDER",
            unset="none",
            panel=FILES,
        ),
    ] = None

    @property
    def follows(self) -> bool:
        """Whether the trajectory of each image is written."""
        return self.gif or self.strip or self.steps_dir is not None
