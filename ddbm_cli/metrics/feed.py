"""Batches from files: read ahead by threads, grouped by size, in memory that does not grow with their number."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import to_pixels
from ddbm_cli.metrics.base import Batch

THREADS = 2
AHEAD = 4
"""Batches that are read ahead of the one at work."""

MOST_PIXELS = 2**21
"""Pixels of a batch, at most: large images come in smaller batches."""

Resize = Literal["outputs", "targets"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """The files of one source: its output, and what that is compared with."""

    name: str
    output: Path
    target: Path | None = None
    sketch: Path | None = None
    draws: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Unread:
    """An item that cannot be read, and why."""

    item: Item
    error: ImageError


@dataclass(frozen=True)
class _Read:
    index: int
    output: Tensor
    target: Tensor | None
    sketch: Tensor | None
    draws: Tensor | None

    @property
    def key(self) -> tuple[object, ...]:
        """What the images of a batch have in common."""
        others = (self.sketch, self.draws)
        return self.output.shape, *(None if each is None else each.shape for each in others)


def feed(
    items: Sequence[Item],
    *,
    batch_size: int,
    device: torch.device,
    resize: Resize | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[Batch | Unread]:
    """Yield the images in batches of equal size, and those that cannot be read.

    Args:
        items: what to read; `Batch.index` counts them.
        batch_size: images in a batch, at most.
        device: where the batches go.
        resize: which of output and target is resized to the other where they differ; by default that is an error.
        size: (width, height) that outputs without a target are resized to; by default they keep their own.
    """
    groups: dict[object, list[_Read]] = {}
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="read")
    coming: deque[Future[_Read | Unread]] = deque()
    places = iter(range(len(items)))
    try:
        while True:
            for place in places:
                coming.append(pool.submit(_read, items[place], place, resize, size))
                if len(coming) >= AHEAD * batch_size:
                    break
            if not coming:
                break
            read = coming.popleft().result()
            if isinstance(read, Unread):
                yield read
                continue
            group = groups.setdefault(read.key, [])
            group.append(read)
            pixels = read.output.shape[-1] * read.output.shape[-2]
            if len(group) >= min(batch_size, max(1, MOST_PIXELS // pixels)):
                yield _batch(groups.pop(read.key), device)
            elif sum(map(len, groups.values())) > AHEAD * batch_size:  # images of many sizes
                yield _batch(groups.pop(max(groups, key=lambda key: len(groups[key]))), device)
        for group in groups.values():
            yield _batch(group, device)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(item: Item, index: int, resize: Resize | None, size: tuple[int, int] | None = None) -> _Read | Unread:
    try:
        output = open_picture(item.output)
        target = open_picture(item.target) if item.target else None
        if target and target.size != output.size and resize is None:
            raise ImageError(
                f"{item.output}: {_size(output.size)} pixels, but its target has {_size(target.size)}",
                hint="bring one to the other's size: --resize outputs, or --resize targets",
            )
        pixels = to_pixels(output, size=target.size if target and resize == "outputs" else size)
        draws = [to_pixels(open_picture(path)) for path in item.draws]
        for path, draw in zip(item.draws, draws, strict=True):
            if draw.shape != pixels.shape:
                raise ImageError(f"{path}: not of the size of {item.output}", hint="make all draws alike")
        return _Read(
            index,
            pixels,
            to_pixels(target, size=output.size if resize == "targets" else None) if target else None,
            to_pixels(open_picture(item.sketch)) if item.sketch else None,
            torch.stack([pixels, *draws]) if draws else None,
        )
    except ImageError as error:
        return Unread(item, error)


def _size(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _batch(reads: list[_Read], device: torch.device) -> Batch:
    def stack(parts: list[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.stack(there).to(device) if there else None

    outputs = stack([read.output for read in reads])
    assert outputs is not None
    return Batch(
        index=torch.tensor([read.index for read in reads]),
        outputs=outputs,
        targets=stack([read.target for read in reads]),
        sketches=stack([read.sketch for read in reads]),
        draws=stack([read.draws for read in reads]),
    )
