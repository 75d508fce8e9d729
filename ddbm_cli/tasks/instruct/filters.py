"""The filters of candidates by their similarities, and the counts of what passed them (InstructPix2Pix, Sec. 3.1.2)."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ddbm_cli.options.data import InstructRequest

FILTERS = ("image similarity", "caption similarity", "direction similarity")

Scores = Mapping[str, float]
"""The similarities of a candidate by the names of `metrics.pair_similarity.Similarities`."""


def passed(scores: Scores, request: InstructRequest) -> dict[str, bool]:
    """Return which filters a candidate passes, by their names in words."""
    found = (
        scores["image"] >= request.clip_img_threshold,
        min(scores["before"], scores["after"]) >= request.clip_threshold,
        scores["direction"] >= request.clip_dir_threshold,
    )
    return dict(zip(FILTERS, found, strict=True))


def chosen(every: Sequence[Scores], request: InstructRequest) -> list[int]:
    """Return the numbers of the candidates of a caption that are kept: by their direction, the best first."""
    good = [number for number, scores in enumerate(every) if all(passed(scores, request).values())]
    return sorted(good, key=lambda number: (-every[number]["direction"], number))[: request.per_image]


class Counts:
    """How many candidates passed each filter.

    Attributes:
        kept: how many of those that passed all are kept.
    """

    def __init__(self, request: InstructRequest) -> None:
        self._request = request
        self._passed: Counter[str] = Counter()
        self.kept = self._all = self._captions = self._candidates = 0

    def add(self, every: Sequence[Scores], kept: int) -> None:
        """Count the candidates of a caption, and how many of them are kept."""
        for scores in every:
            found = passed(scores, self._request)
            self._passed.update(name for name, good in found.items() if good)
            self._all += all(found.values())
        self.kept += kept
        self._captions += 1
        self._candidates += len(every)

    def words(self) -> str:
        """Return the counts as a sentence."""
        given = self._request
        limits = (given.clip_img_threshold, given.clip_threshold, given.clip_dir_threshold)
        each = [f"{self._passed[name]} have {name} {limit:g}" for name, limit in zip(FILTERS, limits, strict=True)]
        return (
            f"of {self._candidates} candidates of {self._captions} captions, {', '.join(each)} or more; "
            f"{self._all} pass all three filters, {self.kept} are kept"
        )
