"""Training batches, each a pure function of (seed, step).

Order, augmentation, times and noise of a step all come from generators seeded by the step's number. So a resumed run
needs no stored random state: it asks for the next step and gets what the undisturbed run would have got.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.denoisers import NOTHING_TOLD, Conditions, dropped
from ddbm_cli.foundation.hashing import seed_of
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.pairs import Pair
from ddbm_cli.imaging.preprocess import Preprocess

CACHE_BYTES = 2**31
"""Decoded pairs are kept in memory, as bytes, up to this size in all; a larger set is decoded each time."""

AUGMENTATIONS = ("flip", "shift")


@dataclass(frozen=True)
class Batch:
    """One step's data: target and source (B, 3, H, W) in -1..1, u (B,) in 0..1 for the times, eps like the target.

    Where pictures have no source, it is the target, which nothing on a source-free path looks at. conditions: what
    the network is told of each.
    """

    target: Tensor
    source: Tensor
    u: Tensor
    eps: Tensor
    conditions: Conditions = NOTHING_TOLD


class Batches:
    """Pairs as batches.

    Args:
        pairs: what to train on.
        preprocess: brings both pictures of a pair to the model's size.
        size: pairs in a batch.
        seed: the run's seed.
        augment: any of AUGMENTATIONS, done alike to both pictures of a pair. flip: left to right, half of the time;
            shift: by up to a sixteenth of the size, paper moving in.
        classes: names of classes, the folders that pairs lie in; none to tell nothing of them.
        drop: see `denoisers.conditions.dropped`.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        preprocess: Preprocess,
        *,
        size: int,
        seed: int,
        augment: Sequence[str] = (),
        classes: Sequence[str] = (),
        drop: float = 0.0,
    ) -> None:
        self._pairs = pairs
        self._preprocess = preprocess
        self._size = size
        self._seed = seed
        self._augment = augment
        self._labels = torch.tensor([classes.index(pair.folder) for pair in pairs]) if classes else None
        self._drop = drop
        room = CACHE_BYTES // (6 * preprocess.size**2)
        self._load = lru_cache(maxsize=None)(self._decode) if len(pairs) <= room else self._decode

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the CPU."""
        indices = [self._index(position) for position in self._positions(step)]
        chosen = [self._load(index) for index in indices]
        random = generator(self._seed, "step", step)
        both = torch.stack(chosen).float() / 127.5 - 1
        both = _augment(both, random, self._augment, paper=self._preprocess.paper / 127.5 - 1)
        # Stratified times: one in each of `size` equal parts, which steadies the loss.
        u = (torch.rand(1, generator=random) + torch.arange(self._size) / self._size) % 1
        u = u[torch.randperm(self._size, generator=random)]
        target, source = both[:, -1].contiguous(), both[:, 0].contiguous()
        eps = torch.randn(target.shape, generator=random)
        dice = torch.rand(self._size, generator=generator(self._seed, "drop", step))
        return Batch(target, source, u, eps, dropped(self.labels(indices), dice, self._drop))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yield the batches from `step` on; the next one is made while the present one is used."""
        # A team of threads of its own would fight the step's team for the same cores.
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as ahead:
            coming = ahead.submit(self.__getitem__, step)
            while True:
                step += 1
                batch, coming = coming.result(), ahead.submit(self.__getitem__, step)
                yield batch

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Return target and source (3, H, W) of one pair, as they are."""
        both = self._load(index).float() / 127.5 - 1
        return both[-1], both[0]

    def labels(self, indices: Sequence[int]) -> Tensor | None:
        """Return the numbers (B,) of some pairs' classes, None where none are told."""
        return None if self._labels is None else self._labels[list(indices)]

    def __len__(self) -> int:
        return len(self._pairs)

    def _positions(self, step: int) -> range:
        return range(step * self._size, (step + 1) * self._size)

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self._pairs))
        return self._order(epoch)[place]

    def _order(self, epoch: int) -> list[int]:
        return _permutation(len(self._pairs), self._seed, epoch)

    def _decode(self, index: int) -> Tensor:
        """Return source, if there is one, and target of a pair, uint8 (2 or 1, 3, H, W)."""
        pair = self._pairs[index]
        files = [path for path in (pair.source, pair.target) if path]
        pictures = [self._preprocess.forward(open_picture(path))[0] for path in files]
        return ((torch.stack(pictures) + 1) * 127.5).round().to(torch.uint8)


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Return a CPU generator whose stream belongs to (seed, purpose)."""
    return torch.Generator().manual_seed(seed_of(repr((seed, *purpose))))


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=generator(seed, "order", epoch)).tolist()


def _augment(both: Tensor, random: torch.Generator, kinds: Sequence[str], *, paper: float) -> Tensor:
    """Augment (B, 1 or 2, 3, H, W); all draws are always made, so that one kind does not move the others."""
    count, size = len(both), both.shape[-1]
    reach = max(1, size // 16)
    flips = torch.rand(count, generator=random) < 0.5
    shifts = torch.randint(0, 2 * reach + 1, (count, 2), generator=random).tolist()
    if "flip" in kinds:
        both = torch.where(flips.view(-1, 1, 1, 1, 1), both.flip(-1), both)
    if "shift" in kinds:
        padded = F.pad(both.flatten(1, 2), (reach, reach, reach, reach), value=paper)
        moved = [picture[:, y : y + size, x : x + size] for picture, (y, x) in zip(padded, shifts, strict=True)]
        both = torch.stack(moved).view_as(both)
    return both
