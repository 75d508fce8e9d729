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
        weights = space.point_weights(space.weights(image, visible))
        moments.add(space.encode(image).flatten(1), weights.flatten())
    yield Surveying(folder=folder, done=len(files), total=len(files))
    if unread:
        yield Noticed(message=f"{len(unread)} images of {folder} cannot be read, and do not count", names=unread)
    if not moments.weight:
        hint = "pass a folder with images that are not all white or transparent"
        raise UsageError(f"{folder}: no image with colours to measure", hint=hint)
    return Colours(folder, len(files) - len(unread), moments.gaussian)


def as_colours(image: Picture) -> tuple[Tensor, Tensor | None]:
    """Return an image (RGB or RGBA) on white, float64 (3, H, W) in -1..1, and its opacity (H, W), None if opaque."""
    tensor, _ = AnySize(size=1).forward(image)
    if image.mode != "RGBA":
        return tensor.double(), None
    return tensor.double(), torch.from_numpy(np.array(image.getchannel("A"), dtype=np.float64) / 255)


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
        """Return the points at the end, (B, d, h, w) float64."""
        a, b, _ = self.path.coefficients(t.double())
        return self.map.between(a, b)(x.movedim(1, -1)).movedim(-1, 1)


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
            preprocess=AnySize(size=256),
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
        image, visible = source[0].double(), None if mask is None else mask[0, 0]
        size = (image.shape[1], image.shape[2])
        bridge = Bridge(plan.path, self.space.encode(image)[None], noise)
        sampling = (bridge, plan.sampler, plan.start, plan.times)
        calls = sample(self.denoiser, *sampling, partial=plan.is_partial)

        def shown(points: Tensor) -> Tensor:
            moved = self.space.decode(points[0], size)
            return (image + self.space.weights(image, visible) * (moved - image))[None].float()

        while True:
            try:
                call = next(calls)
            except StopIteration as stop:
                return shown(stop.value)
            yield replace(call, x=shown(call.x), x0=shown(call.x0))
