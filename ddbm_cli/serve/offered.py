"""The models that a server offers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods import method_of
from ddbm_cli.models import TranslationModel, loading
from ddbm_cli.models.card import DIRECTIONS
from ddbm_cli.options.draw import DrawOptions
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.locate import Locating
from ddbm_cli.tasks.batch_size import auto_batch_size


@dataclass(frozen=True)
class Offered:
    """A model of the server, loaded. reference: as it was named, None for the default model."""

    reference: str | None
    model: TranslationModel

    @property
    def name(self) -> str:
        """The name in its card."""
        return self.model.name

    @property
    def batch_size(self) -> int:
        """How many images are sampled together: 1 where an image would depend on the others."""
        return auto_batch_size(self.model) if self.model.is_batch_invariant else 1

    def facts(self) -> dict[str, Any]:
        """Return what the page and scripts need to know of it."""
        card, plan = self.model.card, self.model.plan()
        return {
            "name": self.name,
            "task": card.task,
            "width": card.preprocess.width,
            "height": card.preprocess.height,
            "nfe": plan.nfe,
            "sampler": plan.sampler.name,
            "classes": list(card.class_names) or [str(number) for number in range(self.model.classes)],
            "needs_class": bool(self.model.classes and not card.condition_dropout),
            "licence": card.licence,
        }


class Models:
    """The models of a server by name, the first one being the default."""

    def __init__(self, offered: Sequence[Offered]) -> None:
        self._offered = {each.name: each for each in offered}

    def __iter__(self) -> Iterator[Offered]:
        return iter(self._offered.values())

    def find(self, name: str) -> Offered:
        """Return a model by its name, "" for the first.

        Raises:
            UsageError: there is none of this name.
        """
        if not name:
            return next(iter(self))
        if name not in self._offered:
            raise UsageError(f"this server has no model '{name}'", hint=f"its models: {', '.join(self._offered)}")
        return self._offered[name]


def loading_all(options: DrawOptions) -> Locating[Models]:
    """Load all models that a server offers, of those with two directions both; yield downloads and conversions.

    Raises:
        ModelError: a model is not available.
        UsageError: a model is not a bridge from image to image, or two have one name.
    """
    offered: list[Offered] = []
    for reference in options.models or builtin_bridges():
        where: dict[str, Any] = {"device": options.device, "dtype": options.dtype}
        models = [(yield from loading(reference, **where))]
        for direction in DIRECTIONS[1:] if models[0].direction else ():
            models.append((yield from loading(reference, direction=direction, **where)))
        request = TranslateRequest(source="", model=reference)
        for model in models:
            method_of(request).plan(request, model)
            if model.name in (each.name for each in offered):
                raise UsageError(f"two models have the name '{model.name}'", hint="pass one of them with -m")
            offered.append(Offered(reference, model))
    return Models(offered)


def builtin_bridges() -> list[str | None]:
    """Return the references of the built-in bridges, first the one that `translate` uses by default."""
    entries = [entry for entry in read_registry().values() if entry.builtin]
    others = [entry for entry in entries if not entry.is_default]
    return [None, *(entry.name for entry in others if entry.facts()["kind"] == "bridge")]
