"""What a method is. Importing this package does not import torch, so options can be checked before it is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ddbm_cli.options.translate import TranslateRequest

if TYPE_CHECKING:
    from torch import Tensor

    from ddbm_cli.models import TranslationModel
    from ddbm_cli.registry.locate import Locating
    from ddbm_cli.samplers import Evaluation, Noise, Plan

Loader = Callable[[str | None], "Locating[TranslationModel]"]
"""Loads the model that a reference names, None for the built-in one, and yields downloads and conversions."""


class ModelUse(NamedTuple):
    """A model in a record: the option that names it, its name, the SHA-256 of its file, and its reference.

    reference: how it was named, where that was no path of the machine; "" otherwise.
    """

    option: str
    name: str
    sha256: str
    reference: str = ""


class Method(ABC):
    """One way to make an image from a source.

    name: as in --method. summary: one line for help texts.
    takes: options that not every method takes, with their values when not given.
    needs_prior: the model is a prior, and the built-in prior if none is given.
    bare_number: the option that a bare number stands for in a comparison's NAME:NUMBER.
    source_field: the field of a comparison's method that names `source_model`, "" if there is none.
    needs_model: the method loads a model that -m can name.
    one_by_one: images keep their sizes, so that each has a batch of its own.
    keeps_transparency: what is transparent in an input does not change, and its transparency is that of the result.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    takes: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    needs_prior: ClassVar[bool] = False
    bare_number: ClassVar[str] = "nfe"
    source_field: ClassVar[str] = ""
    needs_model: ClassVar[bool] = True
    one_by_one: ClassVar[bool] = False
    keeps_transparency: ClassVar[bool] = False

    def foreign_options(self, methods: "Iterable[Method]") -> dict[str, Any]:
        """Return the options that other methods take and this one does not, with their values when not given."""
        every = {option: default for method in methods for option, default in method.takes.items()}
        return {option: default for option, default in every.items() if option not in self.takes}

    def check(self, request: TranslateRequest) -> None:  # noqa: B027 - most methods have nothing to check
        """Check combinations of this method's options, before any model is loaded.

        Raises:
            UsageError: options that do not go together.
        """

    def reference(self, request: TranslateRequest) -> str | None:
        """Return the reference of the model to load; None is the built-in bridge.

        Raises:
            UsageError: none is given, and there is no built-in model of the kind.
        """
        return builtin_prior(request.model) if self.needs_prior else request.model

    def load(self, request: TranslateRequest, load: Loader) -> "Locating[TranslationModel]":
        """Load the model or models; yield downloads and conversions.

        Raises:
            ModelError: a model is not available.
            UsageError: models that do not fit the method or each other.
        """
        return (yield from load(self.reference(request)))

    @abstractmethod
    def plan(self, request: TranslateRequest, model: "TranslationModel") -> "Plan":
        """Return the resolved sampler, grid, start and steps.

        Raises:
            UsageError: the model does not fit the method, an unknown name, or a value out of range.
        """

    def run(
        self, model: "TranslationModel", source: "Tensor", noise: "Noise", plan: "Plan", mask: "Tensor | None" = None
    ) -> "Generator[Evaluation, None, Tensor]":
        """Translate a batch (B, 3, H, W), float32 in -1..1; yield every network evaluation, return the result.

        Args:
            mask: (B, 1, H, W), 1 where the image may change, 0 where it must not; None for everywhere.
        """
        return (yield from model.translate(source, noise, plan, mask=mask))

    def record(self, request: TranslateRequest, model: "TranslationModel") -> dict[str, Any]:
        """Return what an output's record holds about the method and its models; None values are left out."""
        return {
            "method": self.name,
            "model": model.name,
            "model_sha256": model.digest,
            "direction": model.direction or None,
            "model_reference": portable_reference(self.reference(request)),
        }

    def models(self, record: Mapping[str, Any]) -> list[ModelUse]:
        """Return the models that a record names."""
        reference = str(record.get("model_reference") or "")
        name = str(record["model"]).removesuffix(f"-{record.get('direction')}")  # the name in the card of both
        return [ModelUse("--model", name, str(record["model_sha256"]), reference)]

    def options(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of `ddbm translate` that are this method's own, from a record."""
        return {}

    def made(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record without a method's name was written by this method."""
        return False


def builtin_prior(name: str | None) -> str:
    """Return `name`, or the name of the built-in prior.

    Raises:
        UsageError: no name is given, and there is no built-in prior.
    """
    from ddbm_cli.foundation.errors import UsageError
    from ddbm_cli.registry import read_registry

    if name is not None:
        return name
    builtin = (entry for entry in read_registry().values() if entry.builtin)
    found = next((entry.name for entry in builtin if entry.facts()["kind"] == "prior"), None)
    if found is None:
        raise UsageError("no prior is specified", hint="pass one with -m, or train one: ddbm train IMAGES --task prior")
    return found


def portable_reference(reference: str | None) -> str | None:
    """Return a model reference that means the same on every machine.

    None for a path, and for built-in models, which the record names in any case: so it is the same with and without -m.
    """
    from ddbm_cli.registry.entries import built_in

    if reference is None or any(entry.name == reference for entry in built_in()):
        return None
    path = Path(reference.removeprefix("diffusers:")).expanduser()
    return None if path.is_absolute() or path.exists() else reference
