"""Edits by instruction: how much of the source an output keeps, and how far it did what the instruction asks.

Both belong together: an output that equals its source has a similarity of 1 and an agreement of 0. InstructPix2Pix
(arXiv:2211.09800, figure 8) measures them by CLIP's embeddings e of images and t of texts:

    similarity = cos(e(output), e(source))                                                                        (1)
    direction  = cos(e(output) - e(source), t(instruction) - t(""))                                               (2)

There (2) has captions before and after the edit, which an instruction alone does not give. Where CLIP is not in the
cache of Hugging Face, there are the measures of `imaging.edit_measures`, which need no network.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.imaging import edit_measures
from ddbm_cli.imaging.preprocess import to_picture
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.metrics import clip
from ddbm_cli.metrics.base import Batch, PictureMetric, signed

CROPPED = "a source of other proportions is cut to its middle"


class InstructionMetric(PictureMetric):
    """A metric of outputs that were made from their sources by instructions.

    Args:
        device, seed: of the metric.
        texts: the instructions, by `Batch.index`.
    """

    higher_is_better = True
    needs = ("sketches",)

    def __init__(self, device: torch.device, *, seed: int = 0, texts: Sequence[str] = ()) -> None:
        super().__init__(device, seed=seed)
        self._texts = texts

    def texts(self, batch: Batch) -> list[str]:
        """Return the instructions of a batch."""
        return [self._texts[place] for place in batch.index.tolist()]


class _Measure(InstructionMetric):
    """A metric by a measure of an instruction, the source, and the output."""

    def _measure(self, text: str, source: Picture, output: Picture) -> float:
        raise NotImplementedError

    def __call__(self, batch: Batch) -> Tensor:
        pictures = ([to_picture(each) for each in signed(side)] for side in (sources(batch), batch.outputs))
        return torch.tensor([self._measure(*each) for each in zip(self.texts(batch), *pictures, strict=True)])


class Similarity(_Measure):
    """Closeness to the source, pixel by pixel."""

    name = "similarity"
    label = "Similarity"
    recipe = f"1 minus the mean absolute difference from the source, values in 0..1; {CROPPED}"

    def _measure(self, text: str, source: Picture, output: Picture) -> float:
        return edit_measures.similarity(source, output)


class Agreement(_Measure):
    """Progress towards what the instruction asks, in one attribute of the kind of edit."""

    name = "agreement"
    label = "Agreement"
    recipe = (
        "progress, 0 to 1, towards the true answer in one attribute for each kind of edit of `ddbm data instruct`: "
        "colour, lightness, symmetry ...; only for instructions in its words, and objects on white paper"
    )
    unmeasured = "whose instruction has other words than those of `ddbm data instruct`, or asks for what is there"

    def _measure(self, text: str, source: Picture, output: Picture) -> float:
        return edit_measures.agreement(text, source, output)


class _Embedded(InstructionMetric):
    """A metric by CLIP's embeddings; those of outputs and of sources differ in the batch's values only."""

    def __init__(self, device: torch.device, *, seed: int = 0, texts: Sequence[str] = ()) -> None:
        super().__init__(device, seed=seed, texts=texts)
        self.images, self.words = clip.encoders(device, clip.ENCODER)

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the unit embeddings (N, D) of the sources and of the outputs."""
        return _embedded(self.images, batch)


@lru_cache(maxsize=1)
def _embedded(images: clip.ImageEncoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the embeddings of sources and outputs, of the last batch without computing them again."""
    return images(sources(batch)), images(batch.outputs)


class ClipSimilarity(_Embedded):
    """Closeness to the source (1)."""

    name = "clip-similarity"
    label = "CLIP similarity"
    recipe = f"cosine of the embeddings of the output and the source; {clip.ENCODER}, {clip.RESIZED}; {CROPPED}"

    def __call__(self, batch: Batch) -> Tensor:
        return F.cosine_similarity(*self.sides(batch))


class ClipDirection(_Embedded):
    """Agreement of the change with the instruction (2); NaN where nothing changed."""

    name = "clip-direction"
    label = "CLIP direction"
    recipe = (
        "cosine of the change of the image's embedding and the embedding of the instruction minus that of no text; "
        f"{clip.ENCODER}, {clip.RESIZED}; {CROPPED}"
    )

    def __call__(self, batch: Batch) -> Tensor:
        before, after = self.sides(batch)
        asked = self.words([*self.texts(batch), ""])
        values = F.cosine_similarity(after - before, asked[:-1] - asked[-1])
        return values.where((after - before).norm(dim=1) > 0, torch.nan)


BY_INSTRUCTION: tuple[type[InstructionMetric], ...] = (Agreement, Similarity, ClipDirection, ClipSimilarity)
"""Each figure of the agreement is followed by that of the similarity which belongs to it."""

TRADE_OFFS = ((Agreement.label, Similarity.label), (ClipDirection.label, ClipSimilarity.label))
"""Labels of what is gained and of what is kept: the axes of a plot."""


def sources(batch: Batch) -> Tensor:
    """Return the middles of the sources, uint8 (N, 3, H, W), with the proportions of the outputs."""
    assert batch.sketches is not None
    (height, width), (rows, columns) = batch.sketches.shape[-2:], batch.outputs.shape[-2:]
    high = min(height, max(1, round(width * rows / columns)))
    wide = min(width, max(1, round(height * columns / rows)))
    top, left = (height - high) // 2, (width - wide) // 2
    return batch.sketches[..., top : top + high, left : left + wide]
