"""How well the sliced Wasserstein distance ranks known degradations.

    python -m tests.benchmarks.degradations PICTURES [COUNT]

Two disjoint halves of COUNT pictures give the distance of "nothing wrong"; then one half is degraded more and more.
A good distance grows with each step, and is above "nothing wrong" early.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.metrics import METRICS, Batch

SIDE = 64
Degrade = Callable[[Tensor, float], Tensor]


def blur(pictures: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def noise(pictures: Tensor, level: float) -> Tensor:
    return pictures + level * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))


def colour(pictures: Tensor, level: float) -> Tensor:
    return pictures + level * torch.tensor([-1.0, 0.5, 0.5]).view(3, 1, 1)


def mode_drop(pictures: Tensor, share: float) -> Tensor:
    """A share of the pictures is gone, and others stand twice in their place: those least bright are left."""
    order = pictures.mean((1, 2, 3)).argsort()
    kept = order[: max(1, round(len(order) * (1 - share)))]
    return pictures[kept[torch.arange(len(order)) % len(kept)]]


def wrong_class(pictures: Tensor, share: float) -> Tensor:
    """A share of the pictures shows another kind of thing: two of them, side by side."""
    changed = pictures.clone()
    count = round(len(pictures) * share)
    if count:
        narrow = F.interpolate(pictures[:count], (SIDE, SIDE // 2), mode="area")
        changed[:count] = torch.cat([narrow, narrow], dim=-1)
    return changed


CASES: dict[str, tuple[Degrade, tuple[float, ...]]] = {
    "blur, sigma": (blur, (0.5, 1.0, 2.0, 4.0)),
    "noise, sigma": (noise, (5.0, 10.0, 20.0, 40.0)),
    "colour, levels": (colour, (5.0, 10.0, 20.0, 40.0)),
    "mode drop, share": (mode_drop, (0.1, 0.25, 0.5, 0.8)),
    "wrong class, share": (wrong_class, (0.1, 0.25, 0.5, 1.0)),
}


def distance(outputs: Tensor, targets: Tensor) -> float:
    metric = METRICS["swd"](torch.device("cpu"))
    for first in range(0, len(outputs), 64):
        part = slice(first, first + 64)
        pixels = outputs[part].clamp(0, 255).round().to(torch.uint8)
        index = torch.arange(len(outputs))[part]
        metric.update(Batch(index=index, outputs=pixels, targets=targets[part].to(torch.uint8)))
    (figure,) = metric.figures()
    return figure.value


def main(folder: Path, count: int) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".webp", ".png"))
    chosen = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))[:count].tolist()
    square = Preprocess(size=SIDE)
    bytes_ = [(square.forward(open_picture(files[place]))[0] + 1) * 127.5 for place in chosen]
    first, second = torch.stack(bytes_).round().chunk(2)
    second = second[: len(first)]
    first = first[: len(second)]
    nothing = distance(first, second)
    print(f"{len(first)} against {len(second)} pictures; nothing wrong: {nothing:.4f}")
    for name, (degrade, levels) in CASES.items():
        values = [nothing, *(distance(degrade(first, level), second) for level in levels)]
        ranked = values == sorted(values)
        shown = "  ".join(f"{level:g}: {value:.4f}" for level, value in zip(levels, values[1:], strict=True))
        print(f"{name:<19} {shown}  {'ranked' if ranked else 'NOT RANKED'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
