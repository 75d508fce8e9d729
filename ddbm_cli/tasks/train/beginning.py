"""What a run begins with, and what it writes as its model: new weights, those of --from, or an adapter of these."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic
from torch import Tensor
from typing_extensions import TypedDict  # of typing, but pydantic requires this one before Python 3.12

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.devices import is_finite
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import ModelCard, locate, write_model
from ddbm_cli.models.adapters import Base, write_adapter
from ddbm_cli.models.assemble import divided, weights_of
from ddbm_cli.models.load import digest_of
from ddbm_cli.models.pipeline import NO_TEXT
from ddbm_cli.models.start_from import Started, start_both, start_from
from ddbm_cli.networks import Directed
from ddbm_cli.options.lora import Lora, read_lora
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.registry.pipelines import is_pipeline_folder
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.tasks.train.guards import unreadable
from ddbm_cli.training import Fit, lora
from ddbm_cli.training.state import read_facts

CLASS = "{class}"
"""What stands for the name of a class in a text."""

NOTES = "lora"
"""The key of a state's notes for"""


class Notes(TypedDict):
    """what a run with an adapter is resumed with: its base, and weights that are trained as a whole."""

    base: Base
    whole: list[str]


@dataclass(frozen=True)
class Beginning:
    """What a run begins with.

    started: what was copied from --from, nothing for a run that is resumed. lora: the adapter's settings, if there is
    one. notes: what to keep of it in the state. trained: the number of weights that are trained.
    """

    started: Started
    lora: Lora | None = None
    notes: Notes | None = None
    trained: int = 0
    all: int = 0

    @property
    def words(self) -> str:
        """What is trained, for the header; "" for all weights."""
        if self.lora is None:
            return ""
        return f"{self.lora.words}: {self.trained:,} of {self.all:,} parameters are trained"

    def weights(self, fit: Fit, codec: Codec) -> dict[str, Tensor]:
        """Return the averaged weights with the adapter merged, and those of the codec.

        They are in half precision, where that can hold them.
        """
        full = weights_of(fit.averaged, codec)
        if self.lora:
            full = divided(full)[1] | lora.plain_weights(fit.averaged.network, self.lora.scale)
        halves = {name: tensor.half() for name, tensor in full.items()}
        return halves if all(map(is_finite, halves.values())) else full

    def write(self, path: Path, card: ModelCard, fit: Fit, codec: Codec, *, separate: bool) -> None:
        """Write the averaged weights as a model file.

        Args:
            codec: whose weights become a part of the file.
            separate: write the adapter alone.
        """
        if self.lora is None or self.notes is None:
            write_model(path, card, self.weights(fit, codec))
            return
        alpha = self.lora.scale * self.lora.rank
        facts: dict[str, Any] = {"rank": self.lora.rank, "alpha": alpha, "targets": list(self.lora.targets)}
        facts |= {"parameters": self.trained, "separate": separate}
        card = replace(card, training={**card.training, "lora": facts})
        if separate:
            adapter = lora.adapter_of(fit.averaged.network, self.lora.scale, whole=self.notes["whole"])
            whole = divided(weights_of(fit.averaged, codec))[1]
            write_adapter(path, card, replace(adapter, tensors={**adapter.tensors, **whole}), self.notes["base"])
        else:
            write_model(path, card, self.weights(fit, codec))


def begin(request: TrainRequest, denoiser: Denoiser, folder: RunFolder, classes: tuple[str, ...]) -> Beginning:
    """Give a new network the weights that a run begins with, and its adapter.

    Args:
        denoiser: changed in place. A state that is resumed is loaded later.
        classes: names of the classes.

    Raises:
        UsageError: the model does not fit, or the adapter is for another kind of network.
        ModelError: the model cannot be read.
        DdbmError: the state is damaged.
    """
    asked = read_lora(request.lora) if request.lora else None
    if folder.state.exists():
        started, notes = Started(), _resumed(folder.state) if asked else None
    elif request.start_from is None:
        return Beginning(Started())
    else:
        file = locate(request.start_from)
        if isinstance(denoiser.network, Directed):
            started = start_both(denoiser.network, file)
        else:
            started = start_from(denoiser.network, file, classes, texts=_texts(request, file, classes))
        notes = _notes(request.start_from, file, started, asked) if asked else None
    if asked is None or notes is None:
        return Beginning(started)
    count = sum(parameter.numel() for parameter in denoiser.network.parameters())
    trained = lora.inject(denoiser.network, asked, whole=notes["whole"])
    return Beginning(started, asked, notes, trained, count)


def _texts(request: TrainRequest, file: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of a network that begins with a text-to-image model: that of no class, and those of classes."""
    if not is_pipeline_folder(file):
        if request.text_condition:
            raise UsageError(
                f"--text-condition: {request.start_from} holds its text already",
                hint="leave it out, or begin with --from diffusers:...",
            )
        return NO_TEXT
    if request.text and request.text_condition:
        raise UsageError("--text-condition and --text are mutually exclusive", hint="leave out one of them")
    if not classes:
        return (request.text_condition,)
    text = request.text_condition or CLASS
    if CLASS not in text:
        raise UsageError(f"--text-condition {text!r} is the same for every class", hint=f"write {CLASS} into it")
    return ("", *(text.replace(CLASS, name) for name in classes))


def _notes(reference: str, file: Path, started: Started, asked: Lora) -> Notes:
    if not file.is_file() and not is_pipeline_folder(file):
        raise UsageError(
            f"--lora needs a base in one file, and {file} is a folder",
            hint=f"write one first: ddbm weights export {file} base.safetensors",
        )
    is_local = file.is_dir() or Path(reference).exists()
    base = str((file if file.is_dir() else Path(reference)).absolute()) if is_local else reference
    whole = sorted({*started.adapted, *started.new})
    return Notes(base=Base(base=base, sha256=digest_of(file), scale=asked.scale), whole=whole)


def _resumed(state: Path) -> Notes:
    try:
        return pydantic.TypeAdapter(Notes).validate_python(read_facts(state).get("notes", {}).get(NOTES))
    except pydantic.ValidationError:
        raise unreadable(state) from None
