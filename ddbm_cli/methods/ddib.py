"""DDIB (arXiv:2203.08382): one prior encodes the source as noise, and the prior of the targets decodes the noise."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods.base import Loader, Method, ModelUse, portable_reference
from ddbm_cli.options.translate import TranslateRequest

if TYPE_CHECKING:
    from ddbm_cli.models import TranslationModel
    from ddbm_cli.registry.locate import Locating
    from ddbm_cli.samplers import Plan


class DDIBMethod(Method):
    """Two priors make a bridge; see `models.ddib.DDIB`."""

    name = "ddib"
    summary = "Encode the source with one prior (--source-model), decode it with another."
    takes = MappingProxyType({"source_model": None})
    needs_prior = True
    source_field = "source"

    def check(self, request: TranslateRequest) -> None:
        if request.source_model is None:
            raise UsageError(
                "--method ddib needs two priors", hint="add --source-model for the sources, and -m for the targets"
            )

    def load(self, request: TranslateRequest, load: Loader) -> "Locating[TranslationModel]":
        from ddbm_cli.models import DDIB

        targets = yield from load(self.reference(request))
        return DDIB((yield from load(request.source_model)), targets)

    def plan(self, request: TranslateRequest, model: "TranslationModel") -> "Plan":
        return model.plan(request.sampler, request.grid, request.steps, request.nfe)

    def record(self, request: TranslateRequest, model: "TranslationModel") -> dict[str, Any]:
        from ddbm_cli.models import DDIB

        assert isinstance(model, DDIB)
        source = portable_reference(request.source_model)
        return super().record(request, model) | {
            "ddib": [prior.name for prior in model.priors],
            "ddib_sha256": [prior.digest for prior in model.priors],
            "source_model_reference": source,
        }

    def models(self, record: Mapping[str, Any]) -> list[ModelUse]:
        names, digests = record["ddib"], record.get("ddib_sha256", ["", ""])
        references = [str(record.get(key) or "") for key in ("source_model_reference", "model_reference")]
        options = ("--source-model", "--model")
        return [ModelUse(*facts) for facts in zip(options, names, digests, references, strict=True)]

    def options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"--method": self.name}

    def made(self, record: Mapping[str, Any]) -> bool:
        return "ddib" in record
