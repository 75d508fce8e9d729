"""A diffusion bridge: the model was trained on pairs, and goes from the source to the target."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods.base import Method
from ddbm_cli.options.tiles import OFF
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.registry.reference import fast_version

if TYPE_CHECKING:
    from ddbm_cli.models import TranslationModel
    from ddbm_cli.samplers import Plan


class BridgeMethod(Method):
    """Sample the bridge from the source (DDBM, arXiv:2309.16948; DBIM, arXiv:2405.15885)."""

    name = "bridge"
    summary = "Sample a bridge model from the source image."
    takes = MappingProxyType({"mask": None, "fast": False, "strength": None, "tile": OFF, "tile_overlap": None})

    def reference(self, request: TranslateRequest) -> str | None:
        return fast_version(request.model) if request.fast else request.model

    def plan(self, request: TranslateRequest, model: "TranslationModel") -> "Plan":
        if model.is_prior:
            raise UsageError(
                f"model '{model.name}' is a prior: it has no source image",
                hint="add --method sdedit --strength 0.6, or generate images: ddbm sample",
            )
        if model.card.inpainting and request.mask is None:
            raise UsageError(
                f"model '{model.name}' is an inpainting model and needs a mask",
                hint="add --mask FILE, white in the hole",
            )
        if request.mask and not model.card.inpainting:
            raise UsageError(
                f"model '{model.name}' is not an inpainting model", hint="remove --mask, or add --method sdedit"
            )
        plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
        if request.strength is not None and model.card.inpainting:
            raise UsageError(f"model '{model.name}' is an inpainting model", hint="remove --strength")
        return plan.stopped_at(request.strength)

    def options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"--strength": record["strength"]} if "strength" in record else {}
