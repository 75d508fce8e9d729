"""Training data whose best bridge is known: pairs of numbers, drawn from Gaussians or from mixtures, as images.

Between Gaussians, every channel of every pixel is a pair of its own, and the best estimate is linear. Between mixtures
an image has one colour, so that a network of one position, to which all pixels are folded, estimates three numbers:
neighbours that have nothing to do with a pixel would hide a function that is not linear for thousands of steps.
`tests.exact` has the mean of the target given a state and a source, which is the estimate with the smallest loss. A
training reaches the optimum as far as its excess is small: the loss beyond that of the best estimate, as a part of it.
"""

import dataclasses
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.models import load_model
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.objectives.times import UniformTimes
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.exact import GaussianPairs, MixturePairs


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, and with which settings of `ddbm train`."""

    name: str
    size: int
    network: str
    prediction: str
    batch: int

    def pairs(self, path: ProbabilityPath) -> GaussianPairs | MixturePairs:
        """Return the pairs, within -1..1."""
        if self.name == "gaussians":
            return GaussianPairs(path, mean=0.1, std=0.25, source_mean=-0.05, source_std=0.28, cov=0.045)
        return MixturePairs(path, std=0.1, means=(-0.55, 0.55))

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return sources and targets (N, 3, size, size), float64."""
        pairs = self.pairs(PATHS["vp-bridge"]())
        random = torch.Generator().manual_seed(seed)
        side = self.size if self.name == "gaussians" else 1
        shape = (count, 3, side, side)
        noise, more = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
        if isinstance(pairs, GaussianPairs):
            source = pairs.source_mean + pairs.source_std * noise
            mean, variance = pairs.target_given(source)
            return source, mean + variance**0.5 * more
        source = 0.5 * (torch.randint(0, 2, shape, generator=random) * 2 - 1) + 0.1 * noise
        values = torch.tensor(pairs.means, dtype=torch.float64)
        weights = torch.softmax(-((values - 0.8 * source[..., None]) ** 2), -1)
        chosen = torch.multinomial(weights.flatten(0, -2), 1, generator=random).view(shape)
        whole = (count, 3, self.size, self.size)
        return source.expand(whole), (values[chosen] + pairs.std * more).expand(whole)

    def best(self, path: ProbabilityPath, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """Return the best estimate (1, 3, size, size) for a state."""
        pairs = self.pairs(path)
        if isinstance(pairs, GaussianPairs):
            return pairs.denoise(x, t, source)
        # The mean over the pixels of one colour has all there is to know; its noise is smaller by their number.
        quiet = _Averaged(path, self.size**2)
        mean = x.mean((2, 3), keepdim=True)
        return dataclasses.replace(pairs, path=quiet).denoise(mean, t, source[:, :, :1, :1]).expand_as(x)  # type: ignore[arg-type]


class _Averaged:
    """The coefficients of a path for the mean over some pixels."""

    def __init__(self, path: ProbabilityPath, count: int) -> None:
        self._path, self._count = path, count

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b, c = self._path.coefficients(t)
        return a, b, c / self._count**0.5


GAUSSIANS = Problem(
    "gaussians", 16, "adm:channels=32,multipliers=1,blocks=1,attention=2,head_channels=16", "preconditioned", 8
)
MIXTURES = Problem(
    "mixtures", 8, "adm:channels=66,multipliers=1,blocks=1,attention=2,head_channels=22,patch=8", "x0", 256
)
"""66 channels have two groups of normalisation, which leave the level of an image to the network."""


def write(file: Path, images: tuple[Tensor, Tensor]) -> None:
    """Write sources and targets as a shard that `ddbm train` reads."""
    with tarfile.open(file, "w") as shard:
        for word, side in zip(("source", "target"), images, strict=True):
            for index, body in enumerate(_files(side)):
                member = tarfile.TarInfo(f"{index:05d}.{word}.png")
                member.size = len(body)
                shard.addfile(member, io.BytesIO(body))


def _files(images: Tensor) -> list[bytes]:
    bodies = []
    for image in ((images.clamp(-1, 1) + 1) * 127.5).round().byte():
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "PNG")
        bodies.append(stream.getvalue())
    return bodies


def excess(file: Path, problem: Problem) -> float:
    """Return by which part the loss of a model is larger than the smallest possible one, on pairs it never saw."""
    model: TranslationModel = load_model(file)
    denoiser, path = model.denoiser, model.denoiser.path
    count = 64 if problem.name == "gaussians" else 1024
    sources, targets = problem.draw(count, seed=99)
    random = torch.Generator().manual_seed(98)
    times = UniformTimes().times(path, (torch.randperm(count, generator=random) + 0.5) / count)
    eps = torch.randn(targets.shape, generator=random, dtype=torch.float64)
    states = path.training_state(targets, sources, eps, times)
    own = optimum = 0.0
    for t, x, source, target in zip(times, states, sources, targets, strict=True):
        x, source, target = x[None], source[None], target[None]
        with torch.no_grad():
            estimate = denoiser(x.float(), t, source.float()).double()
        best = problem.best(path, x, t, source)
        weight = float(denoiser.prediction.scalings(path, t.reshape(1)).out) ** -2
        own += weight * float((estimate - best).square().mean())
        optimum += weight * float((best - target).square().mean())
    return own / optimum


def sampling_error(root: Path, file: Path, problem: Problem) -> float:
    """Translate new sources with the command; return how far the results are from the exact distribution.

    It is the Wasserstein-1 distance between results and exact draws for the same sources, averaged over four bins of
    the source, in units of the targets' standard deviation.
    """
    sources, targets = problem.draw(48 if problem.name == "gaussians" else 1000, seed=97)
    (root / "in").mkdir(parents=True)
    for index, body in enumerate(_files(sources)):
        (root / "in" / f"{index:05d}.png").write_bytes(body)
    list(run(TranslateRequest(source=str(root / "in"), output=root / "out", model=str(file), nfe=40, device="cpu")))
    names = sorted((root / "out").glob("*.png"))
    results = torch.stack([torch.from_numpy(np.array(Image.open(name))).permute(2, 0, 1) for name in names])
    results = results.double() / 127.5 - 1
    if problem.name == "mixtures":  # one number of each channel
        sources, targets, results = (each.mean((2, 3)) for each in (sources, targets, results))
    order = sources.flatten().argsort()
    bins = zip(*(each.flatten()[order].chunk(4) for each in (results, targets)), strict=True)
    return float(
        torch.stack([(a.sort().values - b.sort().values).abs().mean() for a, b in bins]).mean() / targets.std()
    )
