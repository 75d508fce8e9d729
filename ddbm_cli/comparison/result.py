"""The result of a comparison: plain records that the page, the tables and the terminal share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One source image.

    name: path below the input. image, target: files' bodies, None where there is none or it cannot be read.
    split: "training", "held out" or "unknown". prompt: the instruction, "" for none. error: why the image cannot be
    read.
    """

    name: str
    image: bytes | None
    target: bytes | None = None
    split: str = "unknown"
    prompt: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A trajectory as one image: a column per kept evaluation, the state x_t above, the estimate of x_0 below.

    times: t of each column, from the source to the target. calls: number of each column's evaluation, from 1.
    """

    image: bytes
    times: tuple[float, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One method, on all inputs.

    label: short and unique. series: the label without its budget, which methods that differ in budget share.
    model, digest, reference: name of the model, SHA-256 of its file, and how it was specified.
    card: the model's card. sampling: sampler, grid, steps and strength in words.
    conditions: class and guidance scales of the method.
    off_budget: why the budget is not met exactly. nfe: network evaluations per image, counted.
    seconds: sampling time per image, median over batches.
    images, commands: by input name, the PNG file and the command that recreates it.
    scores: metric -> input name -> value. figures: metric -> value of all images as a set.
    intervals: metric -> 95 % confidence interval of the mean.
    failed: input name -> reason. error, hint: why the method could not run.
    """

    label: str
    series: str = ""
    model: str = ""
    digest: str = ""
    reference: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    sampling: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    off_budget: str = ""
    steps: int = 0
    nfe: int = 0
    seconds: float = 0.0
    images: dict[str, bytes] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    strips: dict[str, Strip] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
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
    """The whole result.

    metrics: name -> (description, whether higher is better). facts: date, machine, seed, command.
    trade_offs: pairs of metrics that are plotted against each other, the horizontal axis first.
    """

    inputs: tuple[Input, ...]
    outcomes: tuple[Outcome, ...]
    metrics: dict[str, tuple[str, bool]]
    facts: dict[str, str]
    warnings: tuple[str, ...] = ()
    trade_offs: tuple[tuple[str, str], ...] = ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """The different prompts of the inputs, in their order."""
        return tuple(dict.fromkeys(each.prompt for each in self.inputs if each.prompt))

    @property
    def ran(self) -> tuple[Outcome, ...]:
        """The methods that did not fail as a whole."""
        return tuple(outcome for outcome in self.outcomes if not outcome.error)

    def best(self, metric: str) -> frozenset[str]:
        """Return the labels of the methods with the best mean; none where fewer than two methods have one."""
        return _best({each.label: each.means[metric] for each in self.ran if metric in each.means}, self._sign(metric))

    def best_of(self, metric: str, name: str) -> frozenset[str]:
        """Return the labels of the methods with the best score on one input; none where fewer than two have one."""
        scores = {each.label: each.scores.get(metric, {}).get(name) for each in self.ran}
        return _best({label: score for label, score in scores.items() if score is not None}, self._sign(metric))

    def _sign(self, metric: str) -> int:
        return 1 if self.metrics[metric][1] else -1


def _best(values: Mapping[str, float], sign: int) -> frozenset[str]:
    """Return the keys of the largest value, or of the smallest for sign -1."""
    if len(values) < 2:
        return frozenset()
    top = max(sign * value for value in values.values())
    return frozenset(key for key, value in values.items() if sign * value == top)
