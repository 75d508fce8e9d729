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
from ddbm_cli.imaging.io import image_size, opened
from ddbm_cli.imaging.preprocess import Size, to_pixels
from ddbm_cli.metrics.base import Batch

THREADS = 2
AHEAD = 4
"""Batches that are read ahead of the one at work."""

MOST_PIXELS = 2**21
"""Pixels of a batch, at most: large images come in smaller batches."""

MOST_BYTES = 2**29
"""Bytes of decoded images that wait for their batch, at most; one item that is larger waits alone."""

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
    index: int = 0


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
    costs = [0] * len(items)
    place = held = 0
    try:
        while True:
            while place < len(items) and len(coming) < AHEAD * batch_size:
                costs[place] = _cost(items[place])
                if held and held + costs[place] > MOST_BYTES:
                    break
                held += costs[place]
                coming.append(pool.submit(_read, items[place], place, resize, size))
                place += 1
            if not coming and not groups:
                break
            if not coming:  # what waits for its batch takes all the room
                group = groups.pop(max(groups, key=lambda key: sum(costs[read.index] for read in groups[key])))
                held -= sum(costs[read.index] for read in group)
                yield _batch(group, device)
                continue
            read = coming.popleft().result()
            if isinstance(read, Unread):
                held -= costs[read.index]
                yield read
                continue
            group = groups.setdefault(read.key, [])
            group.append(read)
            pixels = read.output.shape[-1] * read.output.shape[-2]
            if len(group) >= min(batch_size, max(1, MOST_PIXELS // pixels)):
                ready = groups.pop(read.key)
            elif sum(map(len, groups.values())) > AHEAD * batch_size:  # images of many sizes
                ready = groups.pop(max(groups, key=lambda key: len(groups[key])))
            else:
                continue
            held -= sum(costs[each.index] for each in ready)
            yield _batch(ready, device)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(item: Item, index: int, resize: Resize | None, size: tuple[int, int] | None = None) -> _Read | Unread:
    try:
        own = image_size(item.output)
        like = image_size(item.target) if item.target else None
        if like and like != own and resize is None:
            raise ImageError(
                f"{item.output}: {_size(own)} pixels, but its target has {_size(like)}",
                hint="bring one to the other's size: --resize outputs, or --resize targets",
            )
        pixels = _pixels(item.output, like if like and resize == "outputs" else size)
        draws = [_pixels(path) for path in item.draws]
        for path, draw in zip(item.draws, draws, strict=True):
            if draw.shape != pixels.shape:
                raise ImageError(f"{path}: not of the size of {item.output}", hint="make all draws alike")
        return _Read(
            index,
            pixels,
            _pixels(item.target, own if resize == "targets" else None) if item.target else None,
            _pixels(item.sketch) if item.sketch else None,
            torch.stack([pixels, *draws]) if draws else None,
        )
    except ImageError as error:
        return Unread(item, error, index)


def _pixels(file: Path, size: Size | None = None) -> Tensor:
    """Return an image as uint8 (3, H, W), of a size or its own; large images are decoded one at a time."""
    with opened(file) as image:
        return to_pixels(image, size=size)


def _cost(item: Item) -> int:
    """Return the bytes of an item's images, 0 where they cannot be read."""
    files = (item.output, item.target, item.sketch, *item.draws)
    try:
        sizes = [image_size(file) for file in files if file]
    except ImageError:
        return 0
    return sum(3 * width * height for width, height in sizes)


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
