"""The options of fine-tuning with LoRA (arXiv:2106.09685)."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import build, settings
from ddbm_cli.options.groups import MODEL

LoraSpec = Annotated[
    str | None,
    Field(
        "Train a low-rank adapter (LoRA) of --from, such as rank=8,alpha=8,targets=attention-convolutions.",
        metavar="rank=N",
        unset="all weights are trained",
        panel=MODEL,
    ),
]
Separate = Annotated[
    bool, Field("With --lora: write the adapter alone as the model, without the weights of --from.", panel=MODEL)
]


@settings
class Lora:
    """A low-rank adapter: to the weights W of a layer alpha / rank B A is added, and A and B are trained alone.

    rank: rows of A. alpha: scale of the sum; by default the rank. targets: layers that get an adapter.
    """

    name: ClassVar[str] = "lora"

    rank: Annotated[int, Field("Rank.", ge=1, le=1024)] = 8
    alpha: Annotated[float | None, Field("Scale, divided by the rank.", gt=0, le=2**16, unset="the rank")] = None
    targets: Annotated[
        tuple[Literal["attention", "convolutions", "embedding"], ...], Field("Layers.", min_length=1)
    ] = ("attention", "convolutions")

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return (self.rank if self.alpha is None else self.alpha) / self.rank

    @property
    def words(self) -> str:
        """The settings in words."""
        alpha = self.rank if self.alpha is None else self.alpha
        return f"LoRA rank {self.rank}, alpha {alpha:g}, {' and '.join(self.targets)}"


def read_lora(spec: str) -> Lora:
    """Return the settings that a text stands for, such as "rank=8,targets=attention".

    Raises:
        UsageError: unknown field, or a value out of its range.
    """
    try:
        return build({"lora": Lora}, f"lora:{spec}", what="adapter")
    except UsageError as error:
        message = error.message.replace("adapter 'lora'", "--lora").replace(f"lora:{spec}", spec)
        hint = "write rank=N,alpha=NUMBER,targets=NAME-NAME" if "cannot read" in message else error.hint
        raise UsageError(message, hint=hint) from None


def check_lora(given: Mapping[str, Any], *, begins: bool) -> None:
    """Check what is given of an adapter.

    Args:
        given: settings of a training by name.
        begins: a new run begins, which needs a model to adapt.

    Raises:
        UsageError: it is not readable, there is nothing to adapt, or peft is not installed.
    """
    if given.get("lora"):
        read_lora(str(given["lora"]))
        if begins and not given.get("start_from"):
            raise UsageError("--lora needs a model to adapt", hint="pass its name: --from NAME")
        if importlib.util.find_spec("peft") is None:
            raise UsageError("--lora needs peft", hint="pip install 'ddbm-cli[lora]'")
    elif given.get("separate") and begins:
        raise UsageError("--separate is for adapters", hint="pass --lora rank=8, or leave out --separate")
