"""How images in their own size are divided into tiles: what `--tile` and `--tile-overlap` ask of a model."""

from dataclasses import dataclass
from typing import Any

from ddbm_cli.denoisers.tiled import Tiles
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.own_size import OwnSize
from ddbm_cli.imaging.preprocess import LARGEST, Preprocess, Size
from ddbm_cli.models import TranslationModel
from ddbm_cli.models.assemble import size_multiple
from ddbm_cli.options.tiles import AUTO, read_tile
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.tasks.batch_size import auto_batch_size

SHARED = 4
"""Neighbouring tiles share one part in so many of their shorter side, where nothing is asked."""


@dataclass(frozen=True)
class Tiling:
    """How the images of one run are divided.

    own: how the model brings images to its size. tile: (width, height) in pixels; None where images are not divided.
    auto: images that are not larger than a tile are brought to the model's size, as without tiles.
    multiple: what sides must be multiples of.
    """

    own: Preprocess
    tile: Size | None = None
    overlap: int = 0
    auto: bool = False
    multiple: int = 1

    def preprocess(self, size: Size, name: str) -> Preprocess:
        """Return how an image of a size is brought to the network.

        Args:
            name: of the image, for the error.

        Raises:
            ImageError: it is too large.
        """
        if self.tile is None or (self.auto and size[0] <= self.tile[0] and size[1] <= self.tile[1]):
            return self.own
        sides = [-(-side // self.multiple) * self.multiple for side in size]
        if self.auto:  # a network gets no smaller images than those of its training
            sides = [max(side, tile) for side, tile in zip(sides, self.tile, strict=True)]
        if max(sides) > LARGEST:
            raise ImageError(
                f"{name}: {size[0]}x{size[1]} pixels are too many for --tile",
                hint=f"reduce it to sides of at most {LARGEST}",
            )
        return OwnSize(size=(sides[0], sides[1]), paper=self.own.paper)

    def applied(self, model: TranslationModel, at_once: int | None) -> TranslationModel:
        """Return the model that evaluates its network on tiles.

        Args:
            at_once: number of tiles in one call; None for what suits the device.
        """
        if self.tile is None:
            return model
        height, width = (side // model.codec.factor for side in reversed(self.tile))
        overlap = self.overlap // model.codec.factor
        return model.with_tiles(Tiles((height, width), overlap, at_once or auto_batch_size(model, self.tile)))

    @property
    def record(self) -> dict[str, Any]:
        """What a record holds of it: the options that give the same result."""
        if self.tile is None:
            return {}
        return {"tile": AUTO if self.auto else str(self.tile[0]), "tile_overlap": self.overlap}

    @property
    def facts(self) -> dict[str, str]:
        """The header's line."""
        if self.tile is None:
            return {}
        where = " of images that are larger" if self.auto else ""
        return {"Tiles": f"{self.tile[0]}x{self.tile[1]} pixels{where}, at least {self.overlap} shared"}


def tiling_of(request: TranslateRequest, model: TranslationModel, own: Preprocess) -> Tiling:
    """Return how a request divides images.

    Raises:
        UsageError: tiles that the model cannot take.
    """
    side = read_tile(request.tile)
    if side == 0:
        if request.tile_overlap is not None:
            raise UsageError("--tile-overlap is for tiles", hint="add --tile auto, or remove --tile-overlap")
        return Tiling(own)
    multiple = size_multiple(model.denoiser, model.codec)
    tile = (own.width, own.height) if side == AUTO else (int(side), int(side))
    if tile[0] % multiple:
        least = -(-tile[0] // multiple) * multiple
        raise UsageError(f"--tile {side}: model '{model.name}' takes multiples of {multiple}", hint=f"--tile {least}")
    overlap = min(tile) // SHARED if request.tile_overlap is None else request.tile_overlap
    if overlap >= min(tile):
        raise UsageError(
            f"--tile-overlap {overlap} is not smaller than a tile of {min(tile)} pixels", hint="pass a smaller overlap"
        )
    return Tiling(own, tile, overlap, side == AUTO, multiple)
