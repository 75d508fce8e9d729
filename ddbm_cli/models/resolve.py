"""From the value of -m to a model: the only place of this package that resolves references.

`locating` returns a file, or a folder in diffusers' layout; `loading` a model. Both yield the events of downloads and
conversions.
"""

from collections.abc import Sequence
from pathlib import Path

from ddbm_cli.denoisers.compiled import Compiled
from ddbm_cli.models.card import FORWARD, ModelCard, describe_card
from ddbm_cli.models.directions import check_direction
from ddbm_cli.models.graph import PlanGraph, check_graph
from ddbm_cli.models.importers import import_file
from ddbm_cli.models.load import checked_card, digest_of, load_file, load_pipeline
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.pipeline import card_of_pipeline
from ddbm_cli.models.selfcheck import check_file
from ddbm_cli.networks.memory_format import best_memory_format, set_memory_format
from ddbm_cli.registry import Entry, parse
from ddbm_cli.registry import locate as registry
from ddbm_cli.registry.entry import BUILTIN
from ddbm_cli.registry.locate import Locating
from ddbm_cli.registry.pipelines import is_pipeline, is_pipeline_folder, locating_pipeline


def builtin_path() -> Path:
    """Return the default model's file."""
    return BUILTIN


def locate(reference: str | Path | None) -> Path:
    """Return the file or folder of a model, downloading and converting it if necessary.

    Raises:
        ModelError: the model is not available.
        UsageError: a registry file is not readable.
    """
    return registry.finish(placing(reference, fetch=True))


def locating(reference: str | Path | None, *, fetch: bool = True) -> Locating[Path]:
    """Do what `locate` does; yield the events of downloads and conversions.

    Args:
        reference: as a user writes it; None is the default model.
        fetch: False to use neither the network nor conversions; a model that is not downloaded is then an error.
    """
    return registry.locating(reference, convert=_convert if fetch else None)


def load_model(reference: str | Path | None = None, *, device: str = "auto", dtype: str = "auto") -> TranslationModel:
    """Load a model onto a device.

    Args:
        reference: a registry name, a repository on the hub, a folder or a file; "diffusers:" and a folder or repository
            for a text-to-image pipeline; None is the default model.
        device, dtype: as of `load_file`.

    Raises:
        ModelError: the model is not available, is damaged, or its weights and card disagree.
        UsageError: no such device or dtype.
    """
    return registry.finish(loading(reference, device=device, dtype=dtype))


def loading(
    reference: str | Path | None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    compile: bool = False,
    direction: str = FORWARD,
    graph: bool = False,
    fetch: bool = True,
    texts: Sequence[str] = (),
) -> Locating[TranslationModel]:
    """Load a model; yield the events of downloads and conversions.

    Args:
        reference: as of `load_model`.
        device, dtype: as of `load_file`.
        compile: compile the network, see `denoisers.compiled`.
        direction: of a model that has two.
        graph: sample by CUDA graphs, see `models.graph`.
        fetch: as of `locating`.
        texts: of pipelines, as of `load_pipeline`.

    Raises:
        ModelError: the model is not available, or is damaged.
        UsageError: no such device, dtype or direction; or no CUDA device for graphs.
    """
    if graph:
        check_graph(device)
    place = yield from placing(reference, fetch=fetch)
    if is_pipeline_folder(place):
        check_direction(card_of_pipeline(place), direction)
        model = load_pipeline(place, device=device, dtype=dtype, texts=texts)
    else:
        model = load_file(place, device=device, dtype=dtype, direction=direction)
    if compile:
        compiled = best_memory_format(model.device, model.dtype, compiled=True)
        set_memory_format(model.denoiser.network, compiled)
        model.denoiser.network = Compiled(model.denoiser.network)
    if graph:
        model.graph = PlanGraph()
    return model


def card_of_reference(reference: str | Path | None) -> tuple[ModelCard, Path]:
    """Return the card of a model that is downloaded, and where the model is, without using the network.

    Raises:
        ModelError: the model is not downloaded, is damaged, or its weights and card disagree.
    """
    place = registry.finish(placing(reference, fetch=False))
    if is_pipeline_folder(place):
        return card_of_pipeline(place), place
    return checked_card(place), place


def described(reference: str) -> Entry:
    """Return the entry of a model: the registry's, or one with the facts in the card of its file.

    Raises:
        ModelError: the model is in no registry, and not downloaded or damaged.
    """
    if not is_pipeline(reference):
        found = parse(reference)
        if isinstance(found, Entry):
            return found
    card, place = card_of_reference(reference)
    body = describe_card(card)
    body["seen"] = {name: "" for name in card.seen}  # the filters themselves are for `compare`
    files = [place] if place.is_file() else [file for file in place.rglob("*.safetensors") if file.is_file()]
    return Entry(
        name=card.name,
        task=card.task,
        file=place.name,
        path=place,
        licence=card.licence,
        licence_source="its card",
        card=body,
        size=sum(file.stat().st_size for file in files),
        sha256=digest_of(place) if place.is_file() else "",
    )


def placing(reference: str | Path | None, *, fetch: bool = True) -> Locating[Path]:
    """Return the file or folder of a model or a pipeline; arguments, events and errors are those of `loading`."""
    if is_pipeline(reference):
        return (yield from locating_pipeline(str(reference), fetch=fetch))
    return (yield from locating(reference, fetch=fetch))


def _convert(source: Path, output: Path, entry: Entry) -> tuple[str, ...]:
    import_file(source, output, entry)
    return check_file(output, entry.fingerprint, name=source.name).faults
