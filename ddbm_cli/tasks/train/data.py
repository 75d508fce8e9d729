"""The data of a run: pairs on the disk become batches, and what cannot be used is found before the first step."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddbm_cli.codecs import Codec, PixelsConfig
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.pairs import Pair, PairSplit, find_pairs
from ddbm_cli.imaging.prepare import fit_of
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.stored import ImageFile, Stored, length_of
from ddbm_cli.models.codecs import load_codec
from ddbm_cli.options.recipe import AUTO
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.doubts import EXCHANGED, swapped
from ddbm_cli.tasks.train.card import spread
from ddbm_cli.tasks.train.labels import Labels, labels_of
from ddbm_cli.training import Batches
from ddbm_cli.training.encoding import Encoder
from ddbm_cli.training.sides import TwoSides, parts_of

DECODED_BYTES = 2**28
"""Size of all files up to which every image is decoded before the first step; of more only the headers are read."""

LOOKED_AT = 64
"""Pairs whose colours are compared, at most."""

MOST_NAMED = 5
"""Files that are named in one line of the header, at most."""


@dataclass(frozen=True)
class Data:
    """What a run is trained and validated on.

    request: with the fit that was chosen. failures: pairs that cannot be used.
    codec, codec_setting: what makes states of images, with its weights, and as the card states it.
    direction: why the sides of the pairs may be exchanged, "" where nothing suggests it.
    """

    request: TrainRequest
    pairs: PairSplit
    batches: Batches | TwoSides
    held_out: Batches | TwoSides
    labels: Labels
    codec: Codec
    codec_setting: dict[str, Any]
    failures: list[ImageError]
    direction: str = ""

    def facts(self) -> dict[str, str]:
        """Return the header's line about it; "" for none."""
        request, pairs = self.request, self.pairs
        what = "pairs" if request.needs_pairs else "images"
        unpaired = f", {len(pairs.unpaired)} unpaired" if request.needs_pairs and not request.source else ""
        unusable = f", {len(self.failures)} unusable" if self.failures else ""
        size = Preprocess(size=request.size)
        shape = "are not square" if size.width == size.height else f"do not have the proportions of {size.words}"
        check = ["see ddbm data check"] if self.failures else []
        left_out = [str(pairs.skipped)] if pairs.skipped else []
        left_out += named([problem.message for problem in pairs.broken])
        if request.is_unpaired:
            what += f" ({' of A, '.join(str(len(each)) for each in parts_of(self.batches))} of B)"
        trained = f"{len(pairs.train)} {what}{self.labels.words} to train on"
        return {
            "Data": f"{trained}, {len(pairs.val)} held out{unpaired}{unusable}",
            "Folders": "; ".join(pairs.folders),
            "Direction": f"{self.direction}; {EXCHANGED}" if self.direction else "",
            "Sources": f"made from the targets by {request.source}" if request.source else "",
            "Images": f"{size.words} pixels, fit {request.fit}: {FITS[request.fit or 'pad'].format(shape)}",
            "Cache": "; ".join(each.cache.words for each in parts_of(self.batches) if not each.cache.is_whole),
            "Codec": self.codec_setting["name"] if self.codec.factor > 1 else "",
            "Left out": "; ".join(left_out),
            "Unusable": "; ".join([*named([error.message for error in self.failures]), *check]),
        }

    def use_latents(self, folder: Path, rank: int, *, writes: bool) -> None:
        """Use the latents in a folder that the process of this rank keeps there, see `Encoder.keep_in`."""
        for number, encoder in enumerate(self._encoders):
            encoder.keep_in(folder / f"{rank}-{number}.bin", writes=writes)

    def forget_latents(self) -> None:
        """Delete the latents of this process in that folder."""
        for encoder in self._encoders:
            encoder.forget()

    @property
    def _encoders(self) -> list[Encoder]:
        return [part.encoder for part in parts_of(self.batches) if part.encoder]


FITS = {
    "pad": "images that {} get white borders",
    "crop": "of images that {} the middle is used",
    "stretch": "images that {} are stretched",
}


def named(messages: Sequence[str]) -> list[str]:
    """Return the first messages, and how many more there are."""
    more = len(messages) - MOST_NAMED
    return [*messages[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]


def load_data(request: TrainRequest, *, exclude: Sequence[Path]) -> Data:
    """Find the pairs of a request, and check that they can be used.

    Args:
        request: what to train.
        exclude: folders that are not data, such as the run's.

    Raises:
        UsageError: there are none, or their layout is unknown.
        DdbmError: most of them cannot be used.
    """
    pairs = find_pairs(
        request.data,
        val_share=request.val_share,
        targets_only=not request.needs_pairs or request.source is not None,
        exclude=exclude,
        swap=request.direction == "BtoA",
    )
    return data_of(request, pairs, codec_of(request))


CodecWithSetting = tuple[dict[str, Any], Codec]
"""What makes states of images, as the card states it and with its weights."""


def codec_of(request: TrainRequest) -> CodecWithSetting:
    """Return the codec of a request.

    Raises:
        UsageError: there is no such model.
    """
    return load_codec(request.codec) if request.codec else ({"name": "pixels"}, PixelsConfig().create())


def data_of(request: TrainRequest, pairs: PairSplit, given: CodecWithSetting, *, parts: int = 1) -> Data:
    """Return pairs as batches, and check that they can be used.

    Args:
        given: the codec.
        parts: of how many parts of the data this is one; each gets its part of the caches.

    Raises:
        DdbmError: most of them cannot be used.
    """
    if request.fit is None:
        request = dataclasses.replace(request, fit=fit_of(pairs.train))
    assert request.fit
    preprocess = Preprocess(size=request.size, fit=request.fit)
    decode = request.check or is_ordered(pairs) or _bytes([*pairs.train, *pairs.val]) <= DECODED_BYTES
    labels = labels_of(request, pairs)
    setting, codec = given
    memory, disk = (int(size * 2**30) // parts for size in (request.cache_memory, request.cache_disk))
    encoder = None
    if codec.factor > 1:
        _check_codec(preprocess, codec)
        memory, disk = memory // 2, disk // 2  # the other halves are for latents
        count = 2 * 2 * len(pairs.train)  # of both sides of each pair, flipped and not
        size = (preprocess.height, preprocess.width)
        encoder = Encoder(codec, size, count=count, memory=memory, disk=disk)
    batches = Batches(
        pairs.train,
        preprocess,
        size=1 if request.recipe.batch_size == AUTO else request.recipe.pairs_per_step,
        seed=request.recipe.seed,
        augment=request.augment,
        labels=labels.of(pairs.train),
        drop=request.drop,
        degrade=request.source,
        memory=memory,
        disk=disk,
        encoder=encoder,
    )

    def validated_on(pairs: Sequence[Pair]) -> Batches:
        seed = request.recipe.seed
        return Batches(pairs, preprocess, size=1, seed=seed, labels=labels.of(pairs), degrade=request.source, memory=0)

    held_out = validated_on(pairs.val)
    for each in (batches, held_out):
        each.check(decode=decode)
    batches.require()
    failures = batches.new_failures() + held_out.new_failures()
    if held_out.failures:
        good = [pair for index, pair in enumerate(pairs.val) if index not in held_out.failures]
        pairs = dataclasses.replace(pairs, val=good)
        held_out = validated_on(good)
    return Data(request, pairs, batches, held_out, labels, codec, setting, failures, _direction(batches))


def _direction(batches: Batches) -> str:
    """Return why the sides of the pairs may be exchanged, in words."""
    pairs = [batches.pair(index) for index in spread(len(batches), LOOKED_AT)]
    return swapped([(_saturation(source), _saturation(target)) for target, source in pairs])


def _saturation(image: Tensor) -> float:
    """Return the mean distance of the largest and the smallest channel, 0..1, of an image (3, H, W) in -1..1."""
    low, high = image.aminmax(dim=0)
    return float((high - low).mean()) / 2


def _check_codec(preprocess: Preprocess, codec: Codec) -> None:
    if preprocess.width % codec.factor or preprocess.height % codec.factor:
        raise UsageError(
            f"--size {preprocess.words} does not fit this autoencoder", hint=f"choose a multiple of {codec.factor}"
        )


def files_of(pairs: Sequence[Pair]) -> list[ImageFile]:
    """Return the files of pairs, each once."""
    return list(dict.fromkeys(file for pair in pairs for file in (pair.source, pair.target) if file))


def is_ordered(pairs: PairSplit) -> bool:
    """Return whether images are in files that are best read from their beginning to their end."""
    files = (pair.target for pair in (*pairs.train, *pairs.val))
    return any(isinstance(file, Stored) and file.ordered for file in files)


def _bytes(pairs: Sequence[Pair]) -> int:
    total = 0
    for file in files_of(pairs):
        with suppress(OSError):
            total += length_of(file)
    return total
