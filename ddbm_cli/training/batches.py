"""Training batches, each a pure function of (seed, step) and of the images that can be read.

Order, augmentation, times and noise of a step come from generators seeded by the step's number, so a resumed run needs
no stored random state. A pair that cannot be used is replaced by another, which depends on the seed and on its place
only: whether the fault was found before the run or when the pair was drawn changes nothing.
"""

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count, repeat
from typing import Protocol

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, dropped
from ddbm_cli.foundation.errors import DdbmError, ImageError
from ddbm_cli.foundation.hashing import seed_of
from ddbm_cli.imaging.degrade import degraded
from ddbm_cli.imaging.pairs import Pair
from ddbm_cli.imaging.prepare import prepared, probed
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.training.augment import augment
from ddbm_cli.training.cache import DecodedCache
from ddbm_cli.training.encoding import Encoder

CACHE_BYTES = 2**31
"""Decoded pairs to keep in memory by default."""

AHEAD_BYTES = 2**30
"""Batches that are prepared ahead of the step, at most."""

THREADS = max(2, min(8, os.cpu_count() or 2))


@dataclass(frozen=True)
class Batch:
    """One step's data: target and source (B, 3, H, W) in -1..1, u (B,) in 0..1 for the times, eps like the target.

    Of models of latents, target and source are latents (B, C, h, w).
    Where images have no source, it is the target, which a source-free path does not use. conditions: the inputs of the
    network besides the images. t: times (B,), float64, where they do not follow from u.
    """

    target: Tensor
    source: Tensor
    u: Tensor
    eps: Tensor
    conditions: Conditions = NO_CONDITIONS
    t: Tensor | None = None


class Stream(Protocol):
    """What a training takes its batches from. The batch of a step depends on the step, the data and `modules` alone.

    rows: the part of each batch that is returned, for one of several processes.
    modules: what the batches depend on besides files, for the run's state.
    """

    rows: slice
    modules: dict[str, nn.Module]

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> Batch: ...

    def from_step(self, step: int) -> Generator[Batch, None, None]: ...


class Rows(Protocol):
    """The labels of all pairs, as a tensor or computed when they are needed."""

    def __getitem__(self, rows: list[int], /) -> Tensor: ...


class Batches:
    """Pairs as batches.

    Args:
        pairs: what to train on.
        preprocess: brings both images of a pair to the model's size.
        size: number of pairs in a batch.
        seed: the run's seed.
        augment: names of augmentations, see `training.augment`.
        labels: of the pairs, see `denoisers.Conditions`; None for none.
        drop: see `denoisers.conditions.dropped`.
        degrade: the degradation that makes sources of targets, see `imaging.degrade`; None where pairs have sources.
        memory, disk: bytes of decoded pairs to keep for the next epochs, see `training.cache`.
        encoder: makes latents of images, which the batches then hold; None for batches of images.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        preprocess: Preprocess,
        *,
        size: int,
        seed: int,
        augment: Sequence[str] = (),
        labels: "Rows | None" = None,
        drop: float = 0.0,
        degrade: str | None = None,
        memory: int | None = None,
        disk: int = 0,
        encoder: Encoder | None = None,
    ) -> None:
        self._pairs = pairs
        self._preprocess = preprocess
        self.size = size
        self._seed = seed
        self._kinds = augment
        self._labels = labels
        self._drop = drop
        self._degrade = degrade
        self.encoder = encoder
        self.rows = slice(0, size)
        """The part of each batch that is returned, for one of several processes."""
        self.modules: dict[str, nn.Module] = {}
        self.failures: dict[int, ImageError] = {}
        self._reported = 0
        shape = (3, preprocess.height, preprocess.width)
        shapes = [(1 if pair.source is None else 2, *shape) for pair in pairs]
        self.cache = DecodedCache(
            shapes, memory=CACHE_BYTES if memory is None else memory, disk=disk, folder=cache_folder()
        )

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the CPU.

        Raises:
            DdbmError: most pairs cannot be used.
        """
        # Random numbers are drawn for the whole batch, so that they do not depend on the number of processes; images
        # are read and changed for the own rows alone.
        size, rows = self.size, self.rows
        drawn = [self._draw(step * size + row) for row in range(size)[rows]]
        random = generator(self._seed, "step", step)
        both = torch.stack([pixels for _, pixels in drawn]).float() / 127.5 - 1
        more = generator(self._seed, "augment", step)
        paper = self._preprocess.paper / 127.5 - 1
        both = augment(both, random, more, self._kinds, paper=paper, size=size, rows=rows)
        # Stratified times: one in each of `size` equal parts, which reduces the variance of the loss.
        u = (torch.rand(1, generator=random) + torch.arange(size) / size) % 1
        u = u[torch.randperm(size, generator=random)][rows]
        target, source = both[:, -1].contiguous(), both[:, 0].contiguous()
        if self._degrade:
            seeds = (seed_of(repr((self._seed, "degrade", step, row))) for row in range(size)[rows])
            source = torch.stack([degraded(*each) for each in zip(target, repeat(self._degrade), seeds, strict=False)])
        if self.encoder:
            same = source is target or torch.equal(source, target)
            target = self.encoder(target)
            source = target if same else self.encoder(source)
        eps = torch.randn((size, *target.shape[1:]), generator=random)[rows]
        dice = torch.rand(size, generator=generator(self._seed, "drop", step))[rows]
        conditions = dropped(self.labels([index for index, _ in drawn]), dice, self._drop)
        return Batch(target, source, u, eps, conditions)

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield the batches from `step` on, in order; the next ones are prepared by threads meanwhile."""
        # A team of OpenMP threads in each of them would compete with the step's team for the same cores.
        with ThreadPoolExecutor(THREADS, "batch", torch.set_num_threads, (1,)) as threads:
            coming: deque[Future[Batch]] = deque()
            try:
                for next_step in count(step):
                    coming.append(threads.submit(self.__getitem__, next_step))
                    if len(coming) > self._ahead:
                        yield coming.popleft().result()
            finally:
                threads.shutdown(cancel_futures=True)

    @property
    def _ahead(self) -> int:
        """Batches to prepare while one is used: one where pairs are in memory, else as many as there are threads."""
        batch = 4 * 9 * self._preprocess.width * self._preprocess.height * self.size
        return 1 if self.cache.is_whole else max(1, min(THREADS, AHEAD_BYTES // batch))

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Return target and source (3, H, W) of one pair without augmentation: of the first usable one from there on.

        Raises:
            DdbmError: most pairs cannot be used.
        """
        both = self._usable((index + step) % len(self) for step in range(len(self)))[1].float() / 127.5 - 1
        if self._degrade:
            return both[-1], degraded(both[-1], self._degrade, seed_of(repr(("degrade", index))))
        return both[-1], both[0]

    def states(self, index: int) -> tuple[Tensor, Tensor]:
        """Return target and source of one pair as a batch holds them: `pair`, or its latents (C, h, w)."""
        target, source = self.pair(index)
        if self.encoder is None:
            return target, source
        return self.encoder(target[None])[0], self.encoder(source[None])[0]

    def check(self, *, decode: bool) -> None:
        """Look for pairs that cannot be used, by threads, and keep them in `failures`.

        Args:
            decode: decode every image; otherwise their headers are read, which finds missing, foreign and oversized
                files, and pairs of different proportions.

        """
        look = self._attempt if decode else self._probe
        with ThreadPoolExecutor(THREADS, "check", torch.set_num_threads, (1,)) as threads:
            try:
                for _ in threads.map(look, range(len(self))):
                    pass
            finally:
                threads.shutdown(cancel_futures=True)
        self.failures = dict(sorted(self.failures.items()))

    def require(self) -> None:
        """Raise an error if more than half of the pairs cannot be used.

        Raises:
            DdbmError: so it is.
        """
        if 2 * len(self.failures) > len(self):
            first = next(iter(self.failures.values()))
            raise DdbmError(
                f"{len(self.failures)} of {len(self)} pairs cannot be used; the first: {first.message}", hint=first.hint
            )

    def new_failures(self) -> list[ImageError]:
        """Return the faults that were found since the last call."""
        found = list(self.failures.values())
        fresh, self._reported = found[self._reported :], len(found)
        return fresh

    def labels(self, indices: Sequence[int]) -> Tensor | None:
        """Return the labels (B, ...) of some pairs, None for none."""
        return None if self._labels is None else self._labels[list(indices)]

    def __len__(self) -> int:
        return len(self._pairs)

    def _draw(self, position: int) -> tuple[int, Tensor]:
        """Return the index and the pixels of the pair at a place in the endless sequence of all epochs."""
        epoch, place = divmod(position, len(self._pairs))
        first = _permutation(len(self._pairs), self._seed, epoch)[place]
        return self._usable(self._instead(first, position))

    def _instead(self, first: int, position: int) -> Iterator[int]:
        """Yield a pair, and then others to try in its place."""
        yield first
        for attempt in count():
            yield seed_of(repr((self._seed, "instead", position, attempt))) % len(self._pairs)

    def _usable(self, indices: Iterator[int]) -> tuple[int, Tensor]:
        for index in indices:
            pixels = self._attempt(index)
            if pixels is not None:
                return index, pixels
            self.require()
        raise IndexError("no pairs")

    def _attempt(self, index: int) -> Tensor | None:
        """Return the pixels of a pair, None if it cannot be used."""
        return None if index in self.failures else self._try(index, partial(self.cache.get, index, self._decode))

    def _probe(self, index: int) -> None:
        self._try(index, partial(probed, self._pairs[index], self._preprocess))

    def _try(self, index: int, read: "partial[Tensor] | partial[None]") -> Tensor | None:
        try:
            return read()
        except ImageError as error:
            self.failures[index] = error
        return None

    def _decode(self, index: int) -> Tensor:
        """Return source, if there is one, and target of a pair, uint8 (2 or 1, 3, H, W)."""
        return prepared(self._pairs[index], self._preprocess)


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Return a CPU generator whose stream belongs to (seed, purpose)."""
    return torch.Generator().manual_seed(seed_of(repr((seed, *purpose))))


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=generator(seed, "order", epoch)).tolist()
