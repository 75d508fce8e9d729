"""The options of `ddbm train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.coding import Codec, Text, TextEncoder
from ddbm_cli.options.distill import AdversarialWeight, Method, NoiseChannels, Teacher
from ddbm_cli.options.expects import CARD, ExpectsSpec
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
from ddbm_cli.options.lora import LoraSpec, Separate
from ddbm_cli.options.recipe import OPTIMISER, RUN, Compute, Recipe
from ddbm_cli.options.tracking import WATCH, Tracker
from ddbm_cli.options.unpaired import (
    UNPAIRED,
    CachePairs,
    Coupling,
    FirstRoundSteps,
    Matching,
    Networks,
    Rounds,
    RoundSteps,
    SimulationSteps,
)

PANELS = (RUN, WATCH, DATA, MODEL, UNPAIRED, OPTIMISER, SAMPLING, CARD)

Spec = "NAME:FIELD=VALUE"

StartFrom = Annotated[
    str | None,
    Field(
        "Model whose weights the run starts from; diffusers:FOLDER or diffusers:org/repo for a text-to-image model.",
        flags=("--from",),
        aliases=("--pretrained-model-name-or-path",),
        metavar="NAME",
        unset="none",
        panel=MODEL,
    ),
]


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
    from_step: the checkpoint to resume from; None for the newest state.
    """

    data: Annotated[
        tuple[Path, ...],
        Field(
            "Folders of pairs, A/ and B/ or train/A ..., or lists of pairs (csv, jsonl); for a prior, of images; for "
            "--task schrodinger, two folders of images without pairs.",
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
            "Resume the run in this folder, with its settings, or one of its checkpoints. Alone, the newest run.",
            aliases=("--resume-from-checkpoint",),
            metavar="[RUN]",
            unset="none",
            panel=RUN,
        ),
    ] = None
    task: Annotated[
        Literal["bridge", "prior", "instruct", "autoencoder", "distill", "schrodinger"],
        Field(
            "What is trained. A bridge translates sources to targets; a prior generates images from noise; instruct is "
            "a bridge that edits sources by instructions, the captions of the pairs; an autoencoder codes images as "
            "latents for bridges and priors; distill makes a bridge of few evaluations of --teacher; schrodinger "
            "translates between two folders without pairs, in both directions.",
            aliases=("--kind",),
            metavar="NAME",
            panel=MODEL,
        ),
    ] = "bridge"
    network: Annotated[
        str, Field("Network, such as adm:channels=64,patch=2.", metavar=Spec, names="networks", panel=MODEL)
    ] = "adm:channels=48,multipliers=1-2-2-3,blocks=1,attention=4-8,head_channels=24,patch=2"
    path: Annotated[
        str,
        Field(
            "Path between source and target. With --task schrodinger, the reference process: brownian:variance=0.1, "
            "ve-bridge, vp-bridge; or rectified, its limit without noise.",
            aliases=("--reference",),
            metavar=Spec,
            names="paths",
            panel=MODEL,
        ),
    ] = "vp-bridge"
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
    method: Method = "ibmd"
    teacher: Teacher = None
    adversarial: AdversarialWeight = 0.0
    noise_channels: NoiseChannels = 0
    coupling: Coupling = "independent"
    matching: Matching = "bridge"
    rounds: Rounds = None
    round_steps: RoundSteps = 1000
    first_round_steps: FirstRoundSteps = None
    simulation_steps: SimulationSteps = 20
    cache_pairs: CachePairs = 2048
    networks: Networks = "one"
    sees_source: bool = True
    from_step: int | None = None
    classes: Annotated[bool, Field("Condition on the class of each image: its folder.", panel=MODEL)] = False
    text: Annotated[
        Literal["captions", "names", "classes"] | None,
        Field(
            "Condition on a text per image: its caption in a list or in shards, the words of its file name, or its "
            "class (extra text).",
            metavar="NAME",
            unset="none",
            excludes=("classes",),
            panel=MODEL,
        ),
    ] = None
    text_encoder: TextEncoder = None
    drop: Annotated[
        float,
        Field(
            "Condition dropout: fraction of steps without source, without class or text, without both. 0.05 with "
            "--classes and --text.",
            aliases=("--conditioning-dropout-prob",),
            ge=0,
            le=0.33,
            panel=MODEL,
        ),
    ] = 0.0
    start_from: StartFrom = None
    codec: Codec = None
    text_condition: Text = ""
    lora: LoraSpec = None
    separate: Separate = False
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
    tracker: Tracker = ("auto",)
    name: Annotated[
        str | None, Field("Name of the model.", metavar="TEXT", unset="the name of the run's folder", panel=CARD)
    ] = None
    translates: Annotated[str, Field('From what to what, such as "sketch -> photo".', metavar="TEXT", panel=CARD)] = (
        "source -> target"
    )
    expects: ExpectsSpec = None
    licence: Annotated[str, Field("Licence of the weights.", metavar="TEXT", panel=CARD)] = "not stated"
    data_note: Annotated[str, Field("Description of the training data.", metavar="TEXT", panel=CARD)] = "not stated"
    limits: Annotated[str, Field("Limitations of the model.", metavar="TEXT", panel=CARD)] = "not stated"

    @property
    def needs_pairs(self) -> bool:
        """Whether each target has a source of its own."""
        return self.task not in ("prior", "autoencoder", "schrodinger")

    @property
    def is_unpaired(self) -> bool:
        """Whether both directions between two sets of images are trained, without pairs."""
        return self.task == "schrodinger"

    @property
    def is_distilled(self) -> bool:
        """Whether a student is trained from a teacher."""
        return self.task == "distill"

    @property
    def is_prior(self) -> bool:
        """Whether a prior is trained, and not a bridge."""
        return self.task == "prior"


@settings
class TrainCommand(TrainRequest):
    """`TrainRequest` as the command line gives it: with the sources of further settings."""

    preset: Annotated[
        Literal["tiny", "small-64", "small-128", "base-64", "base-256", "ddbm-e2h", "ddbm-diode", "i2sb-256", "lbm"]
        | None,
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
