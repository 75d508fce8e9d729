"""How `ddbm train` optimises, and how a step is computed."""

from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings

RUN, OPTIMISER = "Run", "Optimiser"

AUTO = "auto"
"""The largest batch that fits into memory."""

BatchSize = Annotated[
    Annotated[int, Field(ge=1, le=2**16)] | Literal["auto"],
    Field(
        "Number of pairs per step, or auto: the largest that fits into memory (extra train).",
        flags=("-b", "--batch-size"),
        aliases=("--train-batch-size",),
        metavar="N",
        panel=OPTIMISER,
    ),
]

_Decay = Annotated[float, Field(ge=0, lt=1)]
Decays = Annotated[
    _Decay | Annotated[tuple[_Decay, ...], Field(min_length=1, max_length=8)],
    Field(
        "Decay per step of the averaged weights (EMA), from 0 to below 1. Of several, separated by commas, the one "
        "with the lowest validation loss becomes the model.",
        aliases=("--ema-decay",),
        metavar="X[,X]",
        panel=OPTIMISER,
    ),
]


@settings
class Recipe:
    """How to optimise.

    learning_rate: of AdamW, reached after `warmup` steps, and constant until the final fraction `lr_decay_fraction` of
        the run, over which it decays linearly to 0.
    ema: decay per step of the exponential moving average of the weights; it is smaller early in the run. Several decays
        are averaged at once.
    precision: "bf16" and "fp16" compute the network in half precision where that is safe; weights stay float32.
    """

    steps: Annotated[
        int, Field("Length of the run, in steps.", aliases=("--max-train-steps",), ge=1, panel=OPTIMISER)
    ] = 20_000
    batch_size: BatchSize = 16
    learning_rate: Annotated[float, Field("Learning rate of AdamW.", gt=0, panel=OPTIMISER)] = 5e-4
    warmup: Annotated[int, Field("Warm-up steps.", aliases=("--lr-warmup-steps",), ge=0, panel=OPTIMISER)] = 200
    lr_decay_fraction: Annotated[
        float,
        Field(
            "Final fraction of the run over which the learning rate decays to 0.",
            aliases=("--decay",),
            ge=0,
            le=1,
            panel=OPTIMISER,
        ),
    ] = 0.25
    weight_decay: Annotated[
        float, Field("Weight decay of AdamW.", aliases=("--adam-weight-decay",), ge=0, panel=OPTIMISER)
    ] = 0.01
    beta1: Annotated[
        float,
        Field(
            "Decay of the first moment (beta1) of AdamW.",
            aliases=("--adam-beta1", "--momentum"),
            ge=0,
            lt=1,
            panel=OPTIMISER,
        ),
    ] = 0.9
    ema: Decays = 0.999
    clip_norm: Annotated[
        float, Field("Largest norm of the gradient.", aliases=("--max-grad-norm",), gt=0, panel=OPTIMISER)
    ] = 1.0
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        Field("Number type of the network.", aliases=("--mixed-precision",), metavar="NAME", panel=OPTIMISER),
    ] = "fp32"
    save_every: Annotated[
        int, Field("Steps between checkpoints.", aliases=("--checkpointing-steps",), ge=1, panel=RUN)
    ] = 500
    keep: Annotated[
        int,
        Field(
            "Number of checkpoints to keep. More than 1 are in RUN/checkpoints; --resume takes any of them.",
            aliases=("--checkpoints-total-limit",),
            ge=1,
            le=10_000,
            panel=RUN,
        ),
    ] = 1
    max_skipped: Annotated[
        int,
        Field(
            "Number of steps in a row that may be skipped because their loss or gradient contains NaN or infinity.",
            ge=0,
            le=100_000,
            panel=OPTIMISER,
        ),
    ] = 30
    validate_every: Annotated[
        int, Field("Steps between validations.", aliases=("--validation-steps",), ge=1, panel=RUN)
    ] = 1000
    patience: Annotated[
        int | None,
        Field("Validations without a lower loss after which the run ends.", ge=1, unset="no limit", panel=RUN),
    ] = None
    seed: Annotated[
        int, Field("Random seed of weights, order and noise.", ge=0, le=2**62, flags=("-s", "--seed"), panel=OPTIMISER)
    ] = 0

    @property
    def pairs_per_step(self) -> int:
        """The batch size, which must have been chosen where it was `AUTO`."""
        if isinstance(self.batch_size, str):
            raise ValueError("the batch size is not chosen yet")
        return self.batch_size

    @property
    def decays(self) -> tuple[float, ...]:
        """The decays of the averages, one or several."""
        return self.ema if isinstance(self.ema, tuple) else (self.ema,)

    def rate(self, step: int, time_left: float = 1.0) -> float:
        """Return the learning rate of a step.

        Args:
            step: counted from 0.
            time_left: fraction of the time budget that is left, 0..1; 1 without a budget.
        """
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        fall = (self.steps - step) / max(1.0, self.lr_decay_fraction * self.steps)
        if self.lr_decay_fraction > 0:
            fall = min(fall, time_left / self.lr_decay_fraction)
        return self.learning_rate * min(rise, fall, 1.0)


@settings
class Compute:
    """How a step is computed, on the same numbers up to rounding."""

    accumulate: Annotated[
        int,
        Field(
            "Parts of a batch that are computed one after the other, to save memory.",
            aliases=("--gradient-accumulation-steps",),
            ge=1,
            le=2**16,
            panel=OPTIMISER,
        ),
    ] = 1
    checkpoint_activations: Annotated[
        bool,
        Field(
            "Compute activations a second time instead of keeping them, to save memory.",
            aliases=("--gradient-checkpointing",),
            panel=OPTIMISER,
        ),
    ] = False
    compile: Annotated[bool, Field("Compile the network with torch.compile.", panel=OPTIMISER)] = False
