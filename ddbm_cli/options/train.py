"""The options of `ddbm train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import (
    DATA,
    MODEL,
    OUTPUT_FLAGS,
    SAMPLING,
    Augment,
    Device,
    Direction,
    Grid,
    ImageSize,
    Preview,
    Sampler,
    Source,
    TrainFit,
    ValShare,
)

RUN, OPTIMISER, CARD = "Run", "Optimiser", "Model card"
PANELS = (RUN, DATA, MODEL, OPTIMISER, SAMPLING, CARD)

Spec = "NAME:FIELD=VALUE"

StartFrom = Annotated[
    str | None,
    Field(
        "Model whose weights the run starts from.",
        flags=("--from",),
        aliases=("--pretrained-model-name-or-path",),
        metavar="NAME",
        unset="none",
        panel=MODEL,
    ),
]


@settings
class Recipe:
    """How to optimise.

    learning_rate: of AdamW, reached after `warmup` steps, and constant until the final fraction `lr_decay_fraction` of
        the run, over which it decays linearly to 0.
    ema: decay per step of the exponential moving average of the weights; it is smaller early in the run.
    precision: "bf16" and "fp16" compute the network in half precision where that is safe; weights stay float32.
    """

    steps: Annotated[
        int, Field("Length of the run, in steps.", aliases=("--max-train-steps",), ge=1, panel=OPTIMISER)
    ] = 20_000
    batch_size: Annotated[
        int,
        Field(
            "Number of pairs per step.",
            flags=("-b", "--batch-size"),
            aliases=("--train-batch-size",),
            ge=1,
            le=2**16,
            panel=OPTIMISER,
        ),
    ] = 16
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
    ema: Annotated[
        float,
        Field("Decay per step of the averaged weights (EMA).", aliases=("--ema-decay",), ge=0, lt=1, panel=OPTIMISER),
    ] = 0.999
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


@settings
class Sampling:
    """How the model is sampled by default, in shell forms; it is written into the card.

    None leaves a choice to what suits its kind of path.
    """

    sampler: Sampler = None
    grid: Grid = None
    steps: Annotated[
        int | None,
        Field(
            "Number of sampling steps.",
            flags=("--sampling-steps",),
            ge=1,
            le=10_000,
            unset="by the path",
            panel=SAMPLING,
        ),
    ] = None


@settings
class TrainRequest:
    """What to train, on which data, and with which settings.

    task: what the run makes. "prior" and "autoencoder" train on targets alone; a prior's network gets no source.
    translates: text for the model card, "sketch -> image".
    network, path, prediction, times, objective: settings in their shell form, such as "adm:channels=64".
    sees_source: the network gets the source as an input besides the state.
    """

    data: Annotated[
        tuple[Path, ...],
        Field(
            "Folders of pairs, A/ and B/ or train/A ..., or lists of pairs (csv, jsonl); for a prior, of images.",
            argument=True,
            metavar="[DATA...]",
            repeat=True,
            unset="of the resumed run or --config",
        ),
    ]
    output: Annotated[
        Path | None,
        Field(
            "Folder of the run.",
            **OUTPUT_FLAGS,
            metavar="RUN",
            unset="runs/train, or runs/train2 if that holds another run",
            panel=RUN,
        ),
    ] = None
    resume: Annotated[
        Path | None,
        Field(
            "Resume the run in this folder, with its settings. Alone, the newest run.",
            aliases=("--resume-from-checkpoint",),
            metavar="[RUN]",
            unset="none",
            panel=RUN,
        ),
    ] = None
    task: Annotated[
        Literal["bridge", "prior", "autoencoder"],
        Field(
            "What is trained. A bridge translates sources to targets; a prior generates images from noise; an "
            "autoencoder codes images as latents for bridges and priors.",
            aliases=("--kind",),
            metavar="NAME",
            panel=MODEL,
        ),
    ] = "bridge"
    network: Annotated[
        str, Field("Network, such as adm:channels=64,patch=2.", metavar=Spec, names="networks", panel=MODEL)
    ] = "adm:channels=48,multipliers=1-2-2-3,blocks=1,attention=4-8,head_channels=24,patch=2"
    path: Annotated[str, Field("Path between source and target.", metavar=Spec, names="paths", panel=MODEL)] = (
        "vp-bridge"
    )
    prediction: Annotated[
        str | None,
        Field("What the network predicts.", metavar=Spec, names="predictions", unset="by the path", panel=MODEL),
    ] = None
    times: Annotated[str, Field("Distribution of training times.", metavar=Spec, names="times", panel=OPTIMISER)] = (
        "arcsine"
    )
    objective: Annotated[str, Field("Training objective.", metavar=Spec, names="objectives", panel=OPTIMISER)] = (
        "denoising"
    )
    sees_source: bool = True
    classes: Annotated[bool, Field("Condition on the class of each image: its folder.", panel=MODEL)] = False
    drop: Annotated[
        float,
        Field(
            "Condition dropout: fraction of steps without source, class, both. 0.05 with --classes.",
            aliases=("--conditioning-dropout-prob",),
            ge=0,
            le=0.33,
            panel=MODEL,
        ),
    ] = 0.0
    start_from: StartFrom = None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    compute: Compute = dataclasses.field(default_factory=Compute)
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    size: ImageSize = 64
    fit: TrainFit = None
    source: Source = None
    direction: Direction = "AtoB"
    cache_memory: Annotated[float, Field("Memory for decoded images, in GiB.", ge=0, le=2**14, panel=DATA)] = 2.0
    cache_disk: Annotated[
        float,
        Field(
            "Space for decoded images beyond --cache-memory, in GiB: a temporary file in the cache folder.",
            ge=0,
            le=2**20,
            panel=DATA,
        ),
    ] = 64.0
    check: Annotated[
        bool, Field("Decode every image before the first step, also of data above 256 MiB.", panel=DATA)
    ] = False
    augment: Augment = ("flip", "shift")
    val_share: ValShare = 0.05
    hours: Annotated[
        float | None,
        Field(
            "Time budget in hours; the last validation and checkpoint are included.",
            gt=0,
            le=1e6,
            unset="no limit",
            panel=RUN,
        ),
    ] = None
    device: Device = "auto"
    name: Annotated[
        str | None, Field("Name of the model.", metavar="TEXT", unset="the name of the run's folder", panel=CARD)
    ] = None
    translates: Annotated[str, Field('From what to what, such as "sketch -> photo".', metavar="TEXT", panel=CARD)] = (
        "source -> target"
    )
    licence: Annotated[str, Field("Licence of the weights.", metavar="TEXT", panel=CARD)] = "not stated"
    data_note: Annotated[str, Field("Description of the training data.", metavar="TEXT", panel=CARD)] = "not stated"
    limits: Annotated[str, Field("Limitations of the model.", metavar="TEXT", panel=CARD)] = "not stated"

    @property
    def needs_pairs(self) -> bool:
        """Whether each target has a source of its own."""
        return self.task not in ("prior", "autoencoder")

    @property
    def is_prior(self) -> bool:
        """Whether a prior is trained, and not a bridge."""
        return self.task == "prior"


@settings
class TrainCommand(TrainRequest):
    """`TrainRequest` as the command line gives it: with the sources of further settings."""

    preset: Annotated[
        Literal["tiny", "small-64", "small-128", "base-64", "base-256", "ddbm-e2h", "ddbm-diode", "i2sb-256"] | None,
        Field("Settings to start from. --config and options win.", metavar="NAME", unset="none", panel=RUN),
    ] = None
    show: Annotated[bool, Field("Print all settings as a TOML file, and exit.", panel=RUN)] = False
    blind: Annotated[bool, Field("Give the network the state only, without the source.", panel=MODEL)] = False
    config: Annotated[
        Path | None,
        Field("TOML file of settings. Options on the command line win.", metavar="FILE", unset="none", panel=RUN),
    ] = None
    preview: Preview = False
    dry_run: Annotated[
        bool, Field("Do some steps, print what the run would need, write nothing, and exit.", panel=RUN)
    ] = False
