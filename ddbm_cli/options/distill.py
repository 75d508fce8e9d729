"""The options of distillation, `ddbm train --task distill`."""

from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.options.groups import MODEL

Teacher = Annotated[
    str | None,
    Field("Model that is distilled, of --task distill.", metavar="NAME", unset="none", panel=MODEL),
]

Method = Annotated[
    str,
    Field(
        "Method of --task distill, such as ibmd:updates=3. cbd and cbt train the student to be consistent along a "
        "trajectory; ibmd and realuid match its distribution to the teacher's.",
        metavar="NAME:FIELD=VALUE",
        names="methods",
        panel=MODEL,
    ),
]

NoiseChannels = Annotated[
    int,
    Field(
        "Channels of noise that the student of --task distill gets as a further input. With them one evaluation, at "
        "the source, gives images that differ.",
        ge=0,
        le=64,
        panel=MODEL,
    ),
]

AdversarialWeight = Annotated[
    float,
    Field(
        "Weight of a critic of patches in the loss of --task distill; 0 for none. It sharpens images, and can make the "
        "images of one source more alike.",
        ge=0,
        le=1000,
        panel=MODEL,
    ),
]
