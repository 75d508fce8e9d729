"""Pairs of training data that can be read, and are doubtful: identical, swapped, or on both sides of the split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from ddbm_cli.imaging.pairs import Pair
from ddbm_cli.imaging.prepare import Looks

CLEAR = 0.9
"""Fraction of pairs in which the same side must have more of a property for it to distinguish the sides."""

LEAST = 0.05
"""Difference of the styles of two sides, of 1, that counts."""

EXCHANGED = "if the sides are exchanged, pass --direction BtoA"
"""What to do where `swapped`."""

FEW = 8
"""Fewest pairs whose styles are compared."""


class Seen(Protocol):
    """A pair and its look."""

    @property
    def pair(self) -> Pair: ...
    @property
    def looks(self) -> Looks: ...
    @property
    def held_out(self) -> bool: ...


@dataclass
class Doubt:
    """Pairs with one doubt. none: words where there are none. drops: whether they are better not trained on."""

    hint: str
    none: str = "none"
    drops: bool = True
    pairs: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, index: int, name: str) -> None:
        """Add a pair by its index and name."""
        self.pairs.append(index)
        self.names.append(name)


def doubts_of(seen: Sequence[Seen]) -> dict[str, Doubt]:
    """Return doubtful pairs by kind.

    Identical: source and target show the same. Swapped: the source looks like the targets of the others, and the
    target like their sources. Duplicate: a pair to train on has an image that is also in a pair that is held out.
    Repeated: both images of a pair are those of an earlier pair of the same split.
    """
    found = {
        "Identical": Doubt("a model learns to change nothing from them: remove them, or correct their names"),
        "Swapped": Doubt("look at them, and exchange source and target where they are swapped", drops=False),
        "In both": Doubt("train and validation share images, so that the validation is too good: remove one"),
        "Repeated": Doubt("the same pair counts several times: remove the copies"),
    }
    held_out = {look.digest for each in seen if each.held_out for look in each.looks.both}
    shared = _common_digests(seen)
    before: set[tuple[object, ...]] = set()
    for index, each in enumerate(seen):
        looks, name = each.looks, each.pair.name
        if looks.identical:
            found["Identical"].add(index, name)
        if not each.held_out and any(look.digest in held_out - shared for look in looks.both):
            found["In both"].add(index, name)
        key = (each.held_out, *(look.digest for look in looks.both))
        if key in before:
            found["Repeated"].add(index, name)
        before.add(key)
    for index in _odd(seen):
        found["Swapped"].add(index, seen[index].pair.name)
    if not any(each.looks.source for each in seen):
        del found["Identical"], found["Swapped"]
    return found


def swapped(saturations: Sequence[tuple[float, float]]) -> str:
    """Return why the two sides as a whole may be exchanged, in words; "" if nothing suggests it.

    The usual source is a sketch, a map, edges or a grey image: it has less colour than its target.

    Args:
        saturations: of the source and the target of each pair, 0..1.
    """
    if len(saturations) < FEW:
        return ""
    grey = sum(target < 0.03 and source > target + LEAST for source, target in saturations)
    if grey < CLEAR * len(saturations):
        return ""
    return f"{grey} of {len(saturations)} sources have colours, and their targets have none"


def _common_digests(seen: Sequence[Seen]) -> set[bytes]:
    """Return digests of images that very many pairs share, such as an empty mask, which are no sign of repetition."""
    counts = Counter(digest for each in seen for digest in {look.digest for look in each.looks.both})
    return {digest for digest, count in counts.items() if count > max(FEW, 0.05 * len(seen))}


def _odd(seen: Sequence[Seen]) -> list[int]:
    """Return the pairs whose styles differ the other way round than those of nearly all others."""
    differences = {
        index: [b - a for a, b in zip(each.looks.source.style, each.looks.target.style, strict=True)]
        for index, each in enumerate(seen)
        if each.looks.source
    }
    if len(differences) < FEW:
        return []
    against: set[int] = set()
    for part in range(3):
        values = {index: each[part] for index, each in differences.items()}
        middle = median(values.values())
        agree = sum(value * middle > 0 for value in values.values())
        if abs(middle) < LEAST or agree < CLEAR * len(values):
            continue
        against |= {index for index, value in values.items() if value * middle < 0 and abs(value) > abs(middle) / 2}
    return sorted(against)
