"""The option that names an autoencoder."""

from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.options.groups import MODEL

Codec = Annotated[
    str | None,
    Field(
        "Autoencoder whose latents the model translates: a model trained with --task autoencoder, or a folder of "
        "diffusers with one.",
        metavar="NAME",
        unset="none, the model translates pixels",
        panel=MODEL,
    ),
]
