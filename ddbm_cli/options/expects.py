"""The option for what a new model expects of its input."""

from typing import Annotated, ClassVar, Literal

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import build, settings

CARD = "Model card"
MEASURED = "measured on the sources"

ExpectsSpec = Annotated[
    str | None,
    Field(
        "What the sources are: photograph, or line-art, such as line-art:line_width=0.5,margin=0.05,objects=1.",
        metavar="KIND",
        unset="measured on the sources, or as the model of --from",
        panel=CARD,
    ),
]


@settings
class LineArt:
    """Dark lines on white paper. What is not given is measured on the sources.

    line_width: in pixels of the model's square. margin: as a fraction of it. objects: in an image, at most.
    """

    name: ClassVar[str] = "line-art"
    kind: ClassVar[Literal["line-art"]] = "line-art"

    line_width: Annotated[float | None, Field("Width of a black line.", gt=0, le=16, unset=MEASURED)] = None
    margin: Annotated[float | None, Field("White border.", ge=0, le=0.4, unset=MEASURED)] = None
    objects: Annotated[int | None, Field("Separate objects.", ge=1, le=64, unset=MEASURED)] = None


@settings
class Photograph:
    """Anything else."""

    name: ClassVar[str] = "photograph"
    kind: ClassVar[Literal["photograph"]] = "photograph"


def read_expects(spec: str) -> LineArt | Photograph:
    """Return what a text stands for.

    Raises:
        UsageError: unknown kind or field, or a value out of its range.
    """
    kinds: dict[str, type[LineArt | Photograph]] = {"line-art": LineArt, "photograph": Photograph}
    try:
        return build(kinds, spec, what="kind")
    except UsageError as error:
        raise UsageError(f"--expects {spec}: {error.message}", hint=error.hint) from None
