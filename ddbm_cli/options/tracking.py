"""The options of watching a training."""

from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field

WATCH = "Watching"

TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow", "comet_ml", "aim", "clearml", "dvclive", "swanlab")
AUTO, NONE = "auto", "none"

TrackerName = Literal[
    "auto", "tensorboard", "wandb", "trackio", "mlflow", "comet_ml", "aim", "clearml", "dvclive", "swanlab"
]
Tracker = Annotated[
    tuple[TrackerName, ...],
    Field(
        "Programs that record losses and samples. auto is tensorboard if it is installed, in RUN/logs.",
        aliases=("--report-to", "--log-with"),
        metavar="NAME[,NAME]",
        none=NONE,
        panel=WATCH,
    ),
]
