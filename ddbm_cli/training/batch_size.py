"""The largest batch that fits into memory, found by steps of growing size, of which none is expected to fail.

A step of n rows needs a + b n bytes. Each step whose memory is measured improves this line, and the next one has twice
as many rows where the line leaves room for it. The largest number on the line is tried by accelerate's
`find_executable_batch_size`, which takes less where it does not fit.

Several processes do the same steps: what they decide by is the largest use and the smallest limit of all.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ddbm_cli.foundation.devices import synchronize
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.training.batches import Batches
from ddbm_cli.training.loop import Fit
from ddbm_cli.training.memory import Memory
from ddbm_cli.training.sharding import part_of
from ddbm_cli.training.state import collect

LONGEST = 5.0
"""Seconds of a step from which on no larger ones are done to improve the line."""

LESS = 0.95
"""Factor on the number of rows after one that did not fit."""

NO_MEMORY = "DefaultCPUAllocator: can't allocate memory: the step needs more than may be used"
"""Words that accelerate takes for a lack of memory."""


@dataclass(frozen=True)
class Measured:
    """A step. peak: bytes that were used at most so far. seconds: how long it took."""

    peak: float
    seconds: float


@dataclass
class Line:
    """Memory as a function of the number of rows, from measured peaks.

    Args:
        base: bytes that are used without any row.
        peak: bytes that were used at most so far; a step that stays below is not seen.
    """

    base: float
    peak: float
    rows: int = 0
    """The largest number of rows so far."""
    _seen: list[tuple[int, float]] = field(default_factory=list)

    def add(self, rows: int, peak: float) -> None:
        """Take into account what was used at most after a step of more rows than before.

        A system may report slightly less than before; that is not seen.
        """
        if peak > self.peak:
            self._seen.append((rows, peak))
        self.peak, self.rows = max(peak, self.peak), rows

    @property
    def slope(self) -> float:
        """Bytes per row; an upper bound of them before two steps were seen."""
        if len(self._seen) < 2:
            return max(1.0, self.peak - self.base) / max(1, self.rows)
        (one, first), (two, second) = self._seen[-2:]
        return (second - first) / (two - one)

    def at(self, rows: int) -> float:
        """Return what is used at most after a step."""
        return self.peak + (rows - self.rows) * self.slope

    def most(self, limit: float) -> int:
        """Return the number of rows at which the line reaches a limit."""
        return self.rows + int((limit - self.peak) / self.slope)


def largest_batch(
    step: Callable[[int], Measured], *, unit: int, most: int, line: Line, limit: float, tried: bool = True
) -> int:
    """Return the largest number of rows with which a step fits, 0 if none does.

    Args:
        step: does a step of a number of rows.
        unit: the number is a multiple of it.
        most: the number is not larger, but at least `unit`.
        line: without points.
        limit: bytes that may be used.
        tried: do a step with the number, too, even if it takes longer than `LONGEST`.

    Raises:
        UsageError: accelerate is not installed.
    """
    find, is_memory = finder()
    most, rows = max(unit, most // unit * unit), unit
    while True:
        try:
            done = step(rows)
        except RuntimeError as error:
            if not is_memory(error):
                raise
            most = rows - unit
            break
        line.add(rows, done.peak)
        following = min(2 * rows, most)
        if rows == most or done.seconds > LONGEST or line.at(following) > limit:
            break
        rows = following
    start = min(line.most(limit), most) // unit * unit if line.rows else 0
    if line.peak <= limit and start <= line.rows:
        return line.rows
    sizes = [max(0, start)]

    def fits(rows: int) -> int:
        if rows > line.rows and tried and line.at(rows) <= limit:
            line.add(rows, step(rows).peak)
        if line.at(rows) > limit:
            raise RuntimeError(NO_MEMORY)
        return rows

    def less() -> int:
        sizes.append(int(LESS * (sizes[-1] - 1)) // unit * unit)
        return sizes[-1]

    try:
        return int(find(fits, starting_batch_size=sizes[0], reduce_batch_size_fn=less)())
    except RuntimeError:
        if sizes[-1]:
            raise
        return 0


def finder() -> tuple[Callable[..., Any], Callable[[Exception], bool]]:
    """Return accelerate's search, and its test of errors for a lack of memory.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from accelerate.utils.memory import find_executable_batch_size, should_reduce_batch_size
    except ImportError:
        raise UsageError(
            "--batch-size auto needs accelerate", hint="pip install 'ddbm-cli[train]', or pass a number"
        ) from None
    return find_executable_batch_size, should_reduce_batch_size


class Steps:
    """Real steps of a run, with batches of any size; they change its moments, but not its weights.

    Args:
        batches: of the run; they are resized.
    """

    def __init__(self, fit: Fit, batches: Batches) -> None:
        self._fit, self._batches, self._memory = fit, batches, Memory(fit.device)

    def __call__(self, rows: int) -> Measured:
        """Do two steps with so many rows in each process: the first creates the moments."""
        fit, size = self._fit, rows * self._fit.processes.count
        self._batches.size, self._batches.rows = size, fit.processes.rows(size)
        with closing(self._batches.from_step(fit.step)) as batches:
            batch = next(batches)
            began = time.monotonic()
            for _ in range(2):
                fit.try_step(batch)
            synchronize(fit.device)
            seconds = time.monotonic() - began
        return Measured(fit.processes.largest(self._memory.peak()), fit.processes.largest(seconds))


def largest_of(fit: Fit, *, unit: int, tried: bool = True) -> int:
    """Return the largest batch of a run that fits, 0 if none does; at most the number of its pairs.

    Args:
        fit: not to be used afterwards.
        unit: the rows of each process are a multiple of it.
        tried: see `largest_batch`.

    Raises:
        UsageError: accelerate is not installed, or the use of the device's memory is unknown.
    """
    finder()
    batches = fit.batches
    if not isinstance(batches, Batches):
        raise UsageError("batches without pairs have one size", hint="pass a number: --batch-size 16")
    memory, processes, recipe = Memory(fit.device), fit.processes, fit.recipe
    if not memory.peak():
        raise UsageError(
            f"--batch-size auto cannot measure the memory of {fit.device}", hint="pass a number: --batch-size 16"
        )
    memory.forget_peak()
    limit = -processes.largest(to_come(fit) - memory.limit())
    peak = processes.largest(memory.peak())
    largest = largest_batch(
        Steps(fit, batches),
        unit=unit,
        most=len(fit.batches) // processes.count,
        line=Line(_fixed(fit), peak),
        limit=max(limit, peak),
        tried=tried,
    )
    batches.size, batches.rows = recipe.pairs_per_step, fit.optimization.rows
    return largest * processes.count


def to_come(fit: Fit) -> int:
    """Return the bytes of the device that decoded pairs will take which are not kept yet."""
    if isinstance(fit.batches, Batches) and fit.device.type == "cpu":
        return fit.batches.cache.bytes_to_come
    return 0


def _fixed(fit: Fit) -> int:
    """Return the bytes of weights, averages, moments and gradients."""
    trained: int = sum(part_of(each).nbytes for group in fit.optimizer.param_groups for each in group["params"])
    kept: int = sum(part_of(tensor).nbytes for tensor in collect(*fit.parts()).values())
    return kept + (1 if fit.optimizer.state else 3) * trained
