"""A whole plan as one CUDA graph: its kernels are recorded once and then launched together, batch after batch.

A small network, or a single image, is computed faster than the host can launch one kernel after the other. A graph
needs fixed addresses, fixed shapes, and nothing that waits for the device or copies from the host:

- source, mask, labels and every draw of noise have buffers, into which those of a batch are copied;
- a smaller batch is padded to the size of the graph by its last image, and the results are cut;
- coefficients of the path are numbers of the host, and the tensors that denoisers make of them are kept per time.

The first batch of a plan runs as usual, which also allocates what libraries need; the second one records the graph.
"""

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ddbm_cli.denoisers.compiled import padded
from ddbm_cli.foundation.devices import choose_device
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.samplers import Evaluation, Noise, finish


class Inputs(NamedTuple):
    """What differs between batches, on the device; each is (B, ...), or (1,) for all images.

    source: the states (B, C, h, w). mask: (B, 1, h, w). label: (B,) or (1,).
    """

    source: Tensor
    mask: Tensor | None = None
    label: Tensor | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """Return the same with each one changed."""
        mask, label = (None if each is None else change(each) for each in (self.mask, self.label))
        return Inputs(change(self.source), mask, label)


Steps = Callable[[Inputs, Noise], Generator[Evaluation, None, Tensor]]
"""Samples a batch: yields evaluations, returns the result (B, C, h, w) on the device."""

Replay = Callable[[], Tensor]
Capture = Callable[[Callable[[], Tensor]], Replay]


def capture(run: Callable[[], Tensor]) -> Replay:
    """Record the kernels of `run` as a CUDA graph; return what launches them, and returns the tensor they write."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def check_graph(device: str) -> None:
    """Check that there can be graphs on a device, given by its name.

    Raises:
        UsageError: it is no CUDA device.
    """
    found = choose_device(device)
    if found.type != "cuda":
        raise UsageError(
            f"--graph needs a CUDA device, and the device is '{found}'", hint="remove --graph, or pass --device cuda"
        )


@dataclass
class _Recorded:
    """A plan of which a batch was sampled: its size, buffers of the inputs and of each draw, and the evaluations."""

    key: Hashable
    inputs: Inputs
    draws: list[Tensor] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    replay: Replay | None = None


class PlanGraph:
    """Samples batches by the graph of the plan that was used last.

    Args:
        capture: as `capture`; tests use one that needs no GPU.
    """

    def __init__(self, *, capture: Capture = capture) -> None:
        self._capture = capture
        self._last: _Recorded | None = None

    def run(self, key: Hashable, steps: Steps, inputs: Inputs, noise: Noise) -> Generator[Evaluation, None, Tensor]:
        """Sample a batch; yield its evaluations, return its result on the device.

        States in between are not kept: those of replayed evaluations are the result.

        Args:
            key: equal for calls that differ in `inputs`, in the size of the batch and in `noise` only.
            steps: samples a batch of any size.
        """
        last, count = self._last, len(inputs.source)
        fits = last is not None and last.key == (key, _shapes(inputs)) and count <= len(last.inputs.source)
        if last is None or not fits:
            return (yield from self._first(key, steps, inputs, noise))
        self._last = None  # stays so where memory is too small: the next, smaller batch then begins anew
        size = len(last.inputs.source)
        for buffer, values in zip(last.inputs, inputs, strict=True):
            if buffer is not None and values is not None:
                buffer.copy_(padded(values, count, size))
        for buffer in last.draws:
            buffer.copy_(padded(noise(buffer[:count]), count, size))
        if last.replay is None:
            last.replay = self._capture(lambda: finish(steps(last.inputs, _in_turn(last.draws))))
        result = last.replay()[:count].clone()
        self._last = last
        for nfe, t in last.evaluations:
            yield Evaluation(nfe, t, result, result)
        return result

    def _first(self, key: Hashable, steps: Steps, inputs: Inputs, noise: Noise) -> Generator[Evaluation, None, Tensor]:
        """Sample a batch as without a graph, and note what a graph needs."""
        self._last = None  # its memory is free for the next one
        buffers = inputs.mapped(Tensor.clone)
        made = _Recorded((key, _shapes(inputs)), buffers)

        def noted(like: Tensor) -> Tensor:
            values = noise(like)
            made.draws.append(values.clone())
            return values

        calls = steps(inputs, noted)
        try:
            while True:
                evaluation = next(calls)
                made.evaluations.append((evaluation.nfe, evaluation.t))
                yield evaluation
        except StopIteration as stop:
            self._last = made
            result: Tensor = stop.value
            return result


def _in_turn(draws: list[Tensor]) -> Noise:
    """Return a source of noise that returns the buffers in turn."""
    left = iter(draws)
    return lambda like: next(left)


def _shapes(inputs: Inputs) -> Hashable:
    """Return what must be equal for one graph, besides the size of the batch."""
    source, label = inputs.source, inputs.label
    labels = None if label is None else len(label) == 1 < len(source)
    return (source.shape[1:], source.dtype, source.device, inputs.mask is None, labels)
