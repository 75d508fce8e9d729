"""How inputs are prepared: what `--prepare` takes."""

from dataclasses import fields
from typing import Annotated

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import build, settings, split_spec
from ddbm_cli.options.groups import FROM_CARD

AUTO, NONE = "auto", "none"


@settings
class Sketch:
    """Treat every input as a drawing on paper.

    page: find the sides of the paper. light: divide by the light on the paper. crop: crop to the drawing.
    strengthen: bring lines to `line_width`.
    """

    name = "sketch"
    line_width: Annotated[
        float | None, Field("Width of lines, in pixels of the model's square.", gt=0, le=16, unset=FROM_CARD)
    ] = None
    margin: Annotated[
        float | None, Field("White border, as a fraction of the square.", ge=0, le=0.4, unset=FROM_CARD)
    ] = None
    page: bool = True
    light: bool = True
    crop: bool = True
    strengthen: bool = True

    def spelled(self) -> str:
        """Return the shell form, with the fields that are not at their defaults."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: value for name, value in given.items() if value is not None and value is not True}
        words = [f"{name}={'no' if value is False else f'{value:g}'}" for name, value in changed.items()]
        return f"{self.name}:{','.join(words)}" if words else self.name


def read_prepare(spec: str) -> str | Sketch:
    """Return AUTO, NONE or the settings of "sketch".

    Raises:
        UsageError: anything else, or a setting that it does not have.
    """
    if spec in (AUTO, NONE):
        return spec
    if split_spec(spec)[0] != Sketch.name:
        raise UsageError(
            f"--prepare {spec}: unknown value", hint="choose one of: auto, none, sketch, sketch:line_width=1,crop=no"
        )
    return build({Sketch.name: Sketch}, spec, what="preparation")
