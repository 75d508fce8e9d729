"""What in an image a model does not expect, in words, before any work."""

from typing import Literal, NamedTuple

Kind = Literal["photograph", "empty", "inverted", "thin", "small", "objects", "large"]


class Finding(NamedTuple):
    """One thing that a model does not expect. message: a sentence without the image's name; hint: what to do."""

    kind: Kind
    message: str
    hint: str
