"""The options of models of latents: the autoencoder, and the text of a network that takes one."""

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
Text = Annotated[
    str,
    Field(
        "Text that a network of --from diffusers:... is given for every image. With --classes, {class} in it stands "
        "for the name of the class.",
        flags=("--text-condition",),
        metavar="TEXT",
        unset="no text; with --classes, the name of the class",
        panel=MODEL,
    ),
]
