"""Events: small records of what happens while a command runs.

A task is a generator of events. Bars, lines and JSON are three ways to show the same events; see `event_lines` for
their JSON form, and `training_events` for those of a training. `ddbm_cli/manual/events.schema.json` is generated from
these classes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ddbm_cli.foundation.event_lines import event, key
from ddbm_cli.foundation.training_events import Sampled as Sampled
from ddbm_cli.foundation.training_events import Saved as Saved
from ddbm_cli.foundation.training_events import Stepped as Stepped
from ddbm_cli.foundation.training_events import Trained as Trained
from ddbm_cli.foundation.training_events import Validated as Validated

# Models: found, downloaded, converted, checked, removed


@event()
class Pulling:
    """A download is running: `done` of `total` bytes are on the disk; `total` is None if it is unknown."""

    file: str
    done: int
    total: int | None


@event()
class Importing:
    """A downloaded file is being converted. This takes a while and is done once."""

    name: str


@event(ticks=True)
class Surveying:
    """The colours of a set of images are measured: `done` of `total` images are read."""

    folder: str
    done: int
    total: int


@event()
class Doubted:
    """A model's self-check found a fault, `text`. The model is used all the same."""

    name: str
    text: str


@event()
class Pulled:
    """A model is on the disk at `path` and its digest is right. fresh: it was not there before."""

    name: str
    path: Path
    fresh: bool


@event()
class ToPull:
    """In a dry run: the bytes to download, None if it is unknown, and whether they are converted then."""

    name: str
    source: str
    bytes: int | None
    converts: bool


@event()
class Verified:
    """A file's digest is right. against: what it was compared with."""

    name: str
    path: Path
    sha256: str
    against: str


@event()
class SelfChecked:
    """A model's self-check ran: its figures by name and noise level, and faults in words."""

    name: str
    figures: dict[str, float]
    faults: tuple[str, ...]
    fingerprint: tuple[float, ...]


@event()
class Removed:
    """A model's files were removed; `freed` is their size in bytes."""

    name: str
    freed: int


@event()
class Listed:
    """A model of the registry: its facts, and with `weights info` its card."""

    facts: dict[str, Any] = field(metadata=key(""))


@event()
class Shown:
    """The card of a model file, or the settings that an image was made with."""

    facts: dict[str, Any] = field(metadata=key(""))


@event()
class Imported:
    """Weights of another program were written as a model file. figures, faults, fingerprint: of its self-check."""

    output: Path
    model: str
    parameters: int
    dtype: str
    bytes: int
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    fingerprint: tuple[float, ...] = ()


@event()
class Exported:
    """A model was written for other programs. loads: diffusers can load its network."""

    output: Path
    model: str
    bytes: int
    loads: bool


@event()
class Uploaded:
    """Files were uploaded to a repository, or would be: their sizes in bytes by name."""

    url: str
    files: dict[str, int]
    dry_run: bool = False


@event()
class Diagnosed:
    """One check of doctor or data. `hint` is the remedy if it is not `ok`. A "warning" only limits what works."""

    name: str
    ok: bool
    found: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"


@event()
class Tuned:
    """The search of one budget is done. before, after: distance to the solution of many evaluations, other images.

    error_before, error_after: mean squared error to the targets of these images, None without targets.
    """

    nfe: int
    sampler: str
    grid: str
    before: float
    after: float
    error_before: float | None
    error_after: float | None
    images: int
    trials: int
    seconds: float


# Images: planned, computed, written


@event()
class Planned:
    """Before the first image or step: what will be done, in which unit. facts: the resolved settings, in order."""

    total: int
    kept: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    unit: str = "images"


@event()
class Arrived:
    """While a folder is watched: so many images more are to be made."""

    images: int


@event()
class BatchStarted:
    """A batch begins; `nfe` network evaluations will follow."""

    images: int
    nfe: int


@event(ticks=True)
class Evaluated:
    """One network evaluation (NFE) of the current batch is done; `nfe` counts from 1."""

    nfe: int


@event()
class Written:
    """One output is complete on disk. record: further facts, such as the settings it was made with."""

    source: Path = field(metadata=key("input"))
    output: Path
    record: dict[str, Any] = field(default_factory=dict, metadata=key(""))


@event()
class Made:
    """One part of a larger result is done, which is no output of its own."""

    text: str


@event()
class Kept:
    """An output existed already. differs: how, if it was made with other settings or by another program."""

    source: Path = field(metadata=key("input"))
    output: Path
    differs: str = ""


@event()
class Intended:
    """In a dry run: an output that would be written."""

    source: Path = field(metadata=key("input"))
    output: Path


@event()
class Failed:
    """One input, model or metric failed; the others are done."""

    source: Path = field(metadata=key("input"))
    message: str = field(metadata=key("error"))
    hint: str


@event()
class Compared:
    """The result of a comparison. metrics: name -> higher is better. rows: one per method. best: metric -> methods."""

    metrics: dict[str, bool]
    rows: list[dict[str, Any]]
    best: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)


@event()
class Finished:
    """After the last image or model: how many were done, kept and failed. word: what `written` counts."""

    written: int
    kept: int
    failed: int
    seconds: float
    output: Path | None = None
    word: str = "written"


@event()
class Listening:
    """A server is ready. url: of the page, with the token where there is one. models: by name, the default first."""

    url: str
    models: list[str]
    token: str = ""


@event()
class Error:
    """The command ended with an error; this is the last line."""

    message: str = field(metadata=key("error"))
    hint: str
    exit_code: int


# Evaluation


@event()
class Noticed:
    """A note; the command continues. `names` are the files or metrics concerned."""

    message: str
    hint: str = ""
    names: list[str] = field(default_factory=list)


@event(ticks=True)
class Measured:
    """That many more images are measured."""

    images: int


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of an evaluation.

    value: None where nothing could be measured. low, high: the 95 % confidence interval, where there is one.
    count: the images (or sources) measured. recipe: how the number is computed. note: what limits its meaning.
    """

    name: str
    label: str
    value: float | None
    count: int
    higher_is_better: bool
    recipe: str
    low: float | None = None
    high: float | None = None
    note: str = ""


@event()
class Reported:
    """The end of an evaluation. missing: targets without an output; odd: outputs without a target."""

    figures: list[Figure]
    pictures: int
    failed: int
    missing: int
    odd: int
    unavailable: list[str]
    seconds: float
