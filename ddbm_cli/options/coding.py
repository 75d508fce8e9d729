"""The options of models of latents: the autoencoder, and the texts of a network that takes some."""

from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.options.groups import MODEL

CODER = "autoencoder"
"""The network whose files are codecs: what --task autoencoder trains."""

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
TextEncoder = Annotated[
    str | None,
    Field(
        "Text encoder of transformers for --text, which is not trained: clip: or t5: and a folder or a downloaded "
        "repository, such as clip:openai/clip-vit-large-patch14 (extra diffusers).",
        metavar="KIND:NAME",
        unset="that of --from, else a small one that is trained with the network",
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
