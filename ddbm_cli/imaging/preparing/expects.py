"""What a model expects of its input; a part of the model card."""

from typing import Annotated, Literal

from pydantic import Field

from ddbm_cli.foundation.settings import settings


@settings
class Expects:
    """What the inputs of a model's training look like.

    kind: "line-art" is dark lines on white paper, "photograph" anything else.
    line_width: width of a black line, in pixels of the model's square. Thinner lines are strengthened to it.
    margin: white border around the drawing, as a fraction of the square.
    objects: largest number of separate objects in an image.
    """

    kind: Literal["line-art", "photograph"] = "photograph"
    line_width: Annotated[float, Field(gt=0, le=16)] = 0.52
    margin: Annotated[float, Field(ge=0, le=0.4)] = 0.055
    objects: Annotated[int, Field(ge=1, le=64)] = 1
