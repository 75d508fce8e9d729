"""Colour transfer: the colours of a set of images become those of another, in closed form; see `models`."""

from collections.abc import Generator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Noticed, Surveying
from ddbm_cli.methods.base import Loader, Method, ModelUse
from ddbm_cli.options.names import check_spec
from ddbm_cli.options.translate import TranslateRequest

if TYPE_CHECKING:
    from ddbm_cli.codecs.colour import ColourSpace
    from ddbm_cli.models import TranslationModel
    from ddbm_cli.models.colour_transfer import Colours
    from ddbm_cli.registry.locate import Locating
    from ddbm_cli.samplers import Plan

NOT_TAKEN = ("model", "prompt", "class_name", "guidance_scale", "perturbed_guidance", "fit")
"""Options of all methods that have no meaning without a network and a size of its images."""


class ColourTransferMethod(Method):
    """Optimal transport between the colours of two sets, taken as Gaussian (Bures; arXiv:2202.05722)."""

    name = "colour-transfer"
    summary = "Move the colours of the input to those of other images (--to), without a model."
    takes = MappingProxyType({"strength": None, "to": None, "colours_from": None, "colour_space": "opponent"})
    bare_number = "strength"
    needs_model = False
    one_by_one = True
    keeps_transparency = True

    def check(self, request: TranslateRequest) -> None:
        if request.to is None:
            raise UsageError(
                "--method colour-transfer needs the images with the wanted colours", hint="add --to FOLDER"
            )
        check_spec("colour_spaces", request.colour_space)
        for option in NOT_TAKEN:
            given = getattr(request, option)
            if given and (option, given) != ("fit", "pad"):
                flag = {"model": "--model", "class_name": "--class"}.get(option, f"--{option.replace('_', '-')}")
                raise UsageError(f"{flag} has no meaning for --method colour-transfer", hint=f"remove {flag}")

    def reference(self, request: TranslateRequest) -> str | None:
        return None

    def load(self, request: TranslateRequest, load: Loader) -> "Locating[TranslationModel]":
        from ddbm_cli.codecs.colour import COLOUR_SPACES
        from ddbm_cli.foundation.settings import build
        from ddbm_cli.models.colour_transfer import ColourTransfer

        space = build(COLOUR_SPACES, request.colour_space, what="colour space")
        target = yield from _survey(request.to, space, request)
        source = yield from _survey(_sources(request), space, request)
        model = ColourTransfer(space, source, target)
        for note in model.notes():
            yield Noticed(message=note)
        return model

    def plan(self, request: TranslateRequest, model: "TranslationModel") -> "Plan":
        plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
        return plan.stopped_at(request.strength)

    def record(self, request: TranslateRequest, model: "TranslationModel") -> dict[str, Any]:
        from ddbm_cli.models.colour_transfer import ColourTransfer

        assert isinstance(model, ColourTransfer)
        own = super().record(request, model) | {"colour_space": request.colour_space}
        return own | {"colours_from": _named(model.source.folder), "colours_to": _named(model.target.folder)}

    def models(self, record: Mapping[str, Any]) -> list[ModelUse]:
        return []

    def options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        strength = {"--strength": record["strength"]} if "strength" in record else {}
        folders = {"--to": record["colours_to"], "--colours-from": record["colours_from"]}
        return {"--method": self.name, **folders, "--colour-space": record["colour_space"], **strength}


def _named(path: str) -> str:
    """Return how a record names a file or folder: as it was given, but of an absolute path the last part."""
    return Path(path).name if Path(path).is_absolute() else path


def _sources(request: TranslateRequest) -> Path:
    """Return the images whose colours are moved.

    Raises:
        UsageError: they are those of standard input, or of a pattern.
    """
    source = request.colours_from or Path(request.source)
    if not source.exists():
        raise UsageError(
            f"{request.source}: not a file or folder whose colours can be measured", hint="add --colours-from FOLDER"
        )
    return source


def _survey(
    path: Path | None, space: "ColourSpace", request: TranslateRequest
) -> "Generator[Surveying | Noticed, None, Colours]":
    """Return the colours of a file or a folder; sub-folders count for --recursive.

    Raises:
        UsageError: there is no image.
    """
    from ddbm_cli.imaging.walk import list_images
    from ddbm_cli.models.colour_transfer import survey

    assert path is not None
    exclude = [each for each in (request.output,) if each is not None]
    files = [path] if path.is_file() else []
    if not files:
        found = list_images(path, recursive=request.recursive, exclude=exclude)
        files = [found.root / name for name in found.names]
    return (yield from survey(files, space, folder=str(path)))
