"""Training data whose best bridge is known: every channel of every pixel is one draw of a pair of numbers.

`tests.exact` has the mean of the target given a state and a source, which is the estimate with the smallest loss. A
training reaches the optimum as far as its excess is small: the loss beyond that of the best estimate, as a part of it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.models import load_model
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.objectives.times import UniformTimes
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.exact import GaussianPairs, MixturePairs

SIZE = 16

NETWORK = "adm:channels=32,multipliers=1,blocks=1,attention=2,head_channels=16"
"""One level."""


def gaussians(path: ProbabilityPath) -> GaussianPairs:
    """Return pairs that stay within -1..1."""
    return GaussianPairs(path, mean=0.1, std=0.25, source_mean=-0.05, source_std=0.28, cov=0.045)


def mixtures(path: ProbabilityPath) -> MixturePairs:
    """Return pairs of which each target is near one of three values, more often the nearer that is to the source."""
    return MixturePairs(path, std=0.1, means=(-0.6, 0.0, 0.6))


@dataclass(frozen=True)
class Drawn:
    """Sources and targets (N, 3, SIZE, SIZE), float64."""

    source: Tensor
    target: Tensor


def draw(pairs: GaussianPairs | MixturePairs, count: int, seed: int) -> Drawn:
    """Draw pairs of images."""
    random = torch.Generator().manual_seed(seed)
    shape = (count, 3, SIZE, SIZE)
    noise, more = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    if isinstance(pairs, GaussianPairs):
        source = pairs.source_mean + pairs.source_std * noise
        mean, variance = pairs.target_given(source)
        return Drawn(source, mean + variance**0.5 * more)
    sides = torch.randint(0, 2, shape, generator=random) * 2 - 1
    source = 0.5 * sides + 0.1 * noise
    values = torch.tensor(pairs.means, dtype=torch.float64)
    weights = torch.softmax(-((values - 0.8 * source[..., None]) ** 2), -1)
    chosen = torch.multinomial(weights.flatten(0, -2), 1, generator=random).view(shape)
    return Drawn(source, values[chosen] + pairs.std * more)


def write(root: Path, drawn: Drawn) -> None:
    """Write pairs as files that `ddbm train` reads."""
    for side, images in (("A", drawn.source), ("B", drawn.target)):
        (root / side).mkdir(parents=True)
        for index, image in enumerate(((images.clamp(-1, 1) + 1) * 127.5).round().byte()):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / side / f"{index:04d}.png")


def excess(file: Path, kind) -> float:
    """Return by which part the loss of a model is larger than the smallest possible one, on pairs it never saw."""
    model: TranslationModel = load_model(file)
    denoiser, path = model.denoiser, model.denoiser.path
    pairs = kind(path)
    drawn = draw(pairs, 64, seed=99)
    random = torch.Generator().manual_seed(98)
    times = UniformTimes().times(path, (torch.randperm(64, generator=random) + 0.5) / 64)
    eps = torch.randn(drawn.target.shape, generator=random, dtype=torch.float64)
    states = path.training_state(drawn.target, drawn.source, eps, times)
    own = optimum = 0.0
    for t, x, source, target in zip(times, states, drawn.source, drawn.target, strict=True):
        x, source, target = x[None], source[None], target[None]
        with torch.no_grad():
            estimate = denoiser(x.float(), t, source.float()).double()
        best = pairs.denoise(x, t, source)
        weight = float(denoiser.prediction.scalings(path, t.reshape(1)).out) ** -2
        own += weight * float((estimate - best).square().mean())
        optimum += weight * float((best - target).square().mean())
    return own / optimum


def sampling_error(root: Path, file: Path, kind) -> float:
    """Translate new sources with the command; return how far the results are from the exact distribution.

    It is the Wasserstein-1 distance between results and exact draws for the same sources, averaged over eight bins of
    the source, in units of the targets' standard deviation.
    """
    pairs = kind(load_model(file).denoiser.path)
    drawn = draw(pairs, 48, seed=97)
    write(root, drawn)
    list(run(TranslateRequest(source=str(root / "A"), output=root / "out", model=str(file), nfe=40, device="cpu")))
    names = sorted((root / "out").glob("*.png"))
    results = torch.stack([torch.from_numpy(np.array(Image.open(name))).permute(2, 0, 1) for name in names])
    order = drawn.source.flatten().argsort()
    found, exact = ((values.flatten()[order]) for values in (results.double() / 127.5 - 1, drawn.target))
    bins = zip(found.chunk(8), exact.chunk(8), strict=True)
    return float(torch.stack([(a.sort().values - b.sort().values).abs().mean() for a, b in bins]).mean() / exact.std())
