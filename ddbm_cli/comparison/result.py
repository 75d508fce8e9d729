"""What a comparison found: plain records, the same for the page and for every table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Input:
    """One source. split: "training", "held out" or "unknown"."""

    name: str
    picture: bytes
    target: bytes | None = None
    split: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A trajectory as one picture: a column for each kept evaluation, above the state x_t, below the estimate of x_0.

    times: of the columns, from the source to the target; calls: their evaluations' numbers, from 1.
    """

    picture: bytes
    times: tuple[float, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One method, on all inputs.

    label: short and unique.
    nfe: network evaluations a picture, counted. seconds: of sampling, a picture, the median over batches.
    pictures: by the input's name, PNG. commands: that make them again.
    scores: metric -> input's name -> value. figures: metric of all pictures as a set -> value.
    error, hint: why the column is empty.
    """

    label: str
    model: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    sampling: str = ""
    steps: int = 0
    nfe: int = 0
    seconds: float = 0.0
    pictures: dict[str, bytes] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    strips: dict[str, Strip] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    error: str = ""
    hint: str = ""

    @property
    def means(self) -> dict[str, float]:
        """The mean of each metric over the inputs that have it, and the figures of the set."""
        means = {name: sum(values.values()) / len(values) for name, values in self.scores.items() if values}
        return means | self.figures


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All of it. metrics: name -> (what it is, in a sentence; whether higher is better). facts: machine, date, seed."""

    inputs: tuple[Input, ...]
    outcomes: tuple[Outcome, ...]
    metrics: dict[str, tuple[str, bool]]
    facts: dict[str, str]
    warnings: tuple[str, ...] = ()
