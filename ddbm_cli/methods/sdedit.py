"""SDEdit (arXiv:2108.01073): add noise to the source up to a level, and let a prior remove it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods.base import Method
from ddbm_cli.options.tiles import OFF
from ddbm_cli.options.translate import TranslateRequest

if TYPE_CHECKING:
    from ddbm_cli.models import TranslationModel
    from ddbm_cli.samplers import Plan

START = "noised"
"""The registry name of the start rule, `samplers.NoisedStart`."""


class SDEditMethod(Method):
    """A prior takes the source as a guide, from the noise level that `strength` sets, `repeats` times."""

    name = "sdedit"
    summary = "Add noise to the source, and denoise it with a prior."
    takes = MappingProxyType(
        {"strength": None, "repeats": 1, "guide": None, "mask": None, "tile": OFF, "tile_overlap": None}
    )
    needs_prior = True
    bare_number = "strength"

    def plan(self, request: TranslateRequest, model: "TranslationModel") -> "Plan":
        if not model.is_prior:
            raise UsageError(
                f"model '{model.name}' is a bridge, and SDEdit needs a prior", hint="pass a prior with -m, or remove -m"
            )
        if not model.denoiser.path.source_free:
            raise UsageError(
                f"model '{model.name}' is a bridge from noise, and SDEdit needs a path without a source",
                hint="pass a prior on ve, vp or cosine with -m",
            )
        strength = {} if request.strength is None else {"strength": request.strength}
        start = {"name": START, "repeats": request.repeats, **strength}
        return model.plan(request.sampler, request.grid, request.steps, request.nfe, start=start)

    def options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        start = record["start"]
        return {"--method": self.name, "--strength": start["strength"], "--repeats": start.get("repeats", 1)}

    def made(self, record: Mapping[str, Any]) -> bool:
        return bool(record["start"]["name"] == START)
