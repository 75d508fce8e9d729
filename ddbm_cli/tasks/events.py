"""What a task tells the world while it runs: one small record for each thing that happened.

A task is a generator of these; bars, plain lines and JSON are three ways to show the same stream.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddbm_cli.registry.events import Doubted, Importing, Noticed, Pulling


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Before the first image: what will be done. `facts` are the resolved settings, in order, shown as a header."""

    total: int
    kept: int = 0
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BatchStarted:
    """A batch begins; `nfe` network evaluations will follow."""

    images: int
    nfe: int


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One network evaluation (NFE) of the batch at work is done; `nfe` counts from 1."""

    nfe: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """One image is finished and complete on disk. `record` adds facts to its line in `--json` output."""

    source: Path
    output: Path
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Made:
    """One part of a larger result is done, which is no output of its own."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An output was there already; `differs` says how, if it was made in another way, or by something else."""

    source: Path
    output: Path
    differs: str = ""


@dataclass(frozen=True, kw_only=True)
class Intended:
    """In a dry run: what would be made."""

    source: Path
    output: Path


@dataclass(frozen=True, kw_only=True)
class Failed:
    """One image could not be done; the others go on."""

    source: Path
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """After the last image. word: what became of those that are counted as written."""

    written: int
    kept: int
    failed: int
    seconds: float
    output: Path | None = None
    word: str = "written"


Loading = Pulling | Importing | Doubted | Noticed
Event = Loading | Planned | BatchStarted | Evaluated | Written | Made | Kept | Intended | Failed | Finished
