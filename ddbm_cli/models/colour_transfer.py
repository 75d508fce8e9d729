"""Colour transfer: the Schroedinger bridge between the colours of two sets of images, without a network.

Mean and covariance of the points of all images, pixels in a colour space or patches, are measured in one pass. Of the
bridge between two Gaussian distributions with these, the limit of zero variance is the map of optimal transport. It is
a bridge on the path of rectified flow, with one evaluation; on the way from 0 to 1 are the displaced colours.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ddbm_cli.codecs.colour import ColourSpace
from ddbm_cli.denoisers import PLAIN, Denoiser, Guidance
from ddbm_cli.denoisers.prediction import TargetPrediction
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.events import Noticed, Surveying
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import describe, spell
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import AnySize
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.models.card import Defaults, ModelCard
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.paths import RectifiedFlow
from ddbm_cli.paths.gaussian import AffineMap, Gaussian, transport
from ddbm_cli.samplers import Bridge, Evaluation, Noise, Plan, sample

NAME = "colour-transfer"

DEFAULTS: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "uniform", "gap": 0.0, "t_min": 0.0},
    "start": {"name": "pinned"},
    "steps": 1,
}

BAND = 2**19
"""Pixels that are computed at a time in float64; between, points are float32."""

STEEP = 8.0
"""Factor by which a direction of colours is stretched from which on noise and JPEG's blocks become visible."""


class Moments:
    """Weighted mean and covariance of a stream of points, float64 (Chan et al., 1979): memory for one image."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, points: Tensor, weights: Tensor) -> None:
        """Add points (d, N) with weights (N,), at least 0."""
        weight = float(weights.sum())
        if weight <= 0:
            return
        mean = (points * weights).sum(1) / weight
        apart = points - mean[:, None]
        scatter = (apart * weights) @ apart.T
        if not self.weight:
            self.weight, self._mean, self._scatter = weight, mean, scatter
            return
        whole, between = self.weight + weight, mean - self._mean
        self._scatter = self._scatter + scatter + between.outer(between) * (self.weight * weight / whole)
        self._mean = self._mean + between * (weight / whole)
        self.weight = whole

    @property
    def gaussian(self) -> Gaussian:
        """The distribution with this mean and covariance."""
        return Gaussian(self._mean, self._scatter / self.weight)


@dataclass(frozen=True)
class Colours:
    """The colours of a set of images. folder: as it was named. images: how many were read."""

    folder: str
    images: int
    gaussian: Gaussian


def survey(files: Sequence[Path], space: ColourSpace, *, folder: str) -> Generator[Surveying | Noticed, None, Colours]:
    """Measure the colours of images; yield how many are done. Those that cannot be read are reported and left out.

    Raises:
        UsageError: no image could be read, or none has a point that counts.
    """
    moments, unread = Moments(), []
    for done, file in enumerate(files):
        yield Surveying(folder=folder, done=done, total=len(files))
        try:
            image, visible = as_colours(open_picture(file))
        except ImageError:
            unread.append(str(file))
            continue
        rows = rows_of(image, space)
        for number, band in enumerate(torch.split(image, rows, 1)):
            pixels, part = band.double(), None if visible is None else visible[number * rows : (number + 1) * rows]
            weights = space.point_weights(space.weights(pixels, part))
            moments.add(space.encode(pixels).flatten(1), weights.flatten())
    yield Surveying(folder=folder, done=len(files), total=len(files))
    if unread:
        yield Noticed(message=f"{len(unread)} images of {folder} cannot be read, and do not count", names=unread)
    if not moments.weight:
        hint = "pass a folder with images that are not all white or transparent"
        raise UsageError(f"{folder}: no image with colours to measure", hint=hint)
    return Colours(folder, len(files) - len(unread), moments.gaussian)


def as_colours(image: Picture) -> tuple[Tensor, Tensor | None]:
    """Return an image (RGB or RGBA) on white, float32 (3, H, W) in -1..1, and its opacity (H, W), None if opaque."""
    tensor, _ = AnySize().forward(image)
    if image.mode != "RGBA":
        return tensor, None
    return tensor, torch.from_numpy(np.array(image.getchannel("A"), dtype=np.float32) / 255)


def rows_of(image: Tensor, space: ColourSpace) -> int:
    """Return the number of rows of an image (3, H, W) that are computed at a time, a multiple of those of a point."""
    return max(1, BAND // (image.shape[2] * space.across)) * space.across


def encoded(image: Tensor, space: ColourSpace) -> Tensor:
    """Return the points (d, h, w) of an image (3, H, W), both float32."""
    return torch.cat([space.encode(band.double()).float() for band in torch.split(image, rows_of(image, space), 1)], 1)


def decoded(points: Tensor, image: Tensor, space: ColourSpace, visible: Tensor | None) -> Tensor:
    """Return the image (3, H, W) of points (d, h, w), float32; what does not count stays as it is in `image`.

    visible: (H, W), its opacity.
    """
    rows, bands = rows_of(image, space), []
    parts = torch.split(points, rows // space.across, 1)
    for number, (band, part) in enumerate(zip(torch.split(image, rows, 1), parts, strict=True)):
        pixels, place = band.double(), slice(number * rows, (number + 1) * rows)
        weights = space.weights(pixels, None if visible is None else visible[place])
        moved = space.decode(part.double(), (band.shape[1], band.shape[2]))
        bands.append((pixels + weights * (moved - pixels)).float())
    return torch.cat(bands, 1)


def between(source: Gaussian, target: Gaussian, space: ColourSpace) -> AffineMap:
    """Return the map of optimal transport, in the directions of the space; what is orthogonal to these stays."""
    apart = target.mean - source.mean
    basis = space.basis((source.covariance + target.covariance) / 2 + apart.outer(apart) / 4)
    if basis is None:
        return transport(source, target)
    inside = transport(*(Gaussian(each.mean @ basis, basis.T @ each.covariance @ basis) for each in (source, target)))
    one, kept = torch.eye(len(basis), dtype=torch.float64), basis @ basis.T
    mean = source.mean + kept @ apart
    return AffineMap(one - kept + basis @ inside.matrix @ basis.T, source.mean, mean)


class ClosedForm(Denoiser):
    """What a colour becomes, from a point of the way there; in place of a network."""

    def __init__(self, map: AffineMap) -> None:
        super().__init__(nn.Identity(), RectifiedFlow(), TargetPrediction(), sees_source=False)
        self.map = map

    def forward(self, x: Tensor, t: Tensor, source: Tensor, conditions: object = None) -> Tensor:
        """Return the points (B, d, h, w) at the end, in the dtype of x."""
        a, b, _ = self.path.coefficients(t.double())
        map = self.map.between(a, b)
        bands = torch.split(x, max(1, BAND // x.shape[3]), 2)
        return torch.cat([map(band.double().movedim(1, -1)).movedim(-1, 1).to(x.dtype) for band in bands], 2)


class ColourTransfer(TranslationModel):
    """The bridge from the colours of one set of images to those of another; images are taken one by one.

    Args:
        space: of the points. source, target: the colours of both sets.
    """

    def __init__(self, space: ColourSpace, source: Colours, target: Colours) -> None:
        self.space, self.source, self.target = space, source, target
        map = between(source.gaussian, target.gaussian, space)
        numbers = b"".join(each.numpy().tobytes() for each in (map.matrix, map.source, map.target))
        card = ModelCard(
            name=NAME,
            task="colours -> colours",
            network={"name": "closed-form"},
            path={"name": RectifiedFlow.name},
            prediction={"name": TargetPrediction.name},
            preprocess=AnySize(),
            defaults=DEFAULTS,
            concat_source=False,
            clip=False,
            licence="no weights",
        )
        digest = sha256(repr(describe(space)).encode() + numbers)
        super().__init__(card, ClosedForm(map), digest=digest)

    @property
    def map(self) -> AffineMap:
        """The map of points."""
        assert isinstance(self.denoiser, ClosedForm)
        return self.denoiser.map

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The number format of all computation."""
        return torch.float64

    @property
    def is_batch_invariant(self) -> bool:
        """Whether an image has the same bits in a batch of any size: it has a batch of its own."""
        return True

    def with_conditions(self, label: Tensor | None = None, guidance: Guidance = PLAIN) -> "ColourTransfer":
        """Return the same model: there are no conditions."""
        return self

    def notes(self) -> list[str]:
        """Return what a user should know of the map."""
        stretch = float(torch.linalg.eigvalsh(self.map.matrix).max())
        if stretch <= STEEP:
            return []
        return [
            f"the sources vary little in a direction of colours, which is stretched {stretch:.0f} times: noise becomes"
            " visible"
        ]

    def facts(self) -> dict[str, str]:
        """Return the header's line about the colours."""
        sides = (f"{each.folder} ({each.images})" for each in (self.source, self.target))
        return {"Colours": f"{' -> '.join(sides)}, {spell(self.space)}"}

    def translate(
        self, source: Tensor, noise: Noise, plan: Plan, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `TranslationModel.translate`, of one image; mask: (1, 1, H, W), its opacity."""
        if not plan.nfe:
            return source
        image, visible = source[0], None if mask is None else mask[0, 0]
        bridge = Bridge(plan.path, encoded(image, self.space)[None], noise)
        sampling = (bridge, plan.sampler, plan.start, plan.times)
        calls = sample(self.denoiser, *sampling, partial=plan.is_partial)
        call: Evaluation | None = None
        shown = image
        while True:
            try:
                call = next(calls)
            except StopIteration as stop:
                same = call is not None and torch.equal(stop.value, call.x0)
                return shown[None] if same else decoded(stop.value[0], image, self.space, visible)[None]
            state = image if call.nfe == 1 else decoded(call.x[0], image, self.space, visible)
            shown = decoded(call.x0[0], image, self.space, visible)
            yield replace(call, x=state[None], x0=shown[None])
