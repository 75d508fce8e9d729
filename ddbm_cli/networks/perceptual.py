"""A perceptual distance (LPIPS, arXiv:1801.03924) on AlexNet, in the form that tolerates shifts (arXiv:2207.13686).

Its weights come with the package `stlpips-pytorch` (BSD 2-Clause), whose file is read and whose code is not run. All
resizing is by a blur and a stride of 2, so the distance hardly changes where both images move by a pixel.
"""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError

PACKAGE = "stlpips-pytorch"
WEIGHTS = "alex_shift_tolerant.pth"

CONVOLUTIONS = ((3, 64, 11, 2), (64, 192, 5, 2), (192, 384, 3, 1), (384, 256, 3, 1), (256, 256, 3, 1))
"""Channels before and after, side and padding."""

LAYERS = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
"""Names of the convolutions in the file."""

BLURRED = 3
"""The first so many features are reduced: the first after its convolution too, the others before."""

LEAST = 32
"""Smallest side of images, in pixels."""


class PerceptualDistance(nn.Module):
    """Distance of images (B, 3, H, W), -1..1, sides of at least `LEAST` pixels: (B,), 0 for equal images."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, side, padding=padding) for before, after, side, padding in CONVOLUTIONS
        )
        for place, (_, after, _, _) in enumerate(CONVOLUTIONS):
            self.register_buffer(f"weight_{place}", torch.ones(after) / after)
        self.register_buffer("shift", torch.zeros(1, 3, 1, 1))
        self.register_buffer("scale", torch.ones(1, 3, 1, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features (B, C, h, w) of five layers, of unit length at each position."""
        h = ((images - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        found = []
        for place, convolution in enumerate(self.convolutions):
            if 0 < place < BLURRED:
                h = _halved(F.max_pool2d(h, 3, 1))
            h = convolution(h)
            h = F.relu(_halved(h) if place == 0 else h)
            found.append(h / (h.square().sum(1, keepdim=True) + 1e-10).sqrt())
        return found

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        total = images.new_zeros(len(images))
        for place, (one, two) in enumerate(zip(self.features(images), self.features(others), strict=True)):
            weight: Tensor = getattr(self, f"weight_{place}")
            total = total + ((one - two).square() * weight.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total


def load_perceptual_distance(device: torch.device, *, objective: str = "reconstruction") -> PerceptualDistance:
    """Return the distance with its weights, on a device; it is differentiable, and its weights are fixed.

    objective: the name of the objective that needs it, for errors.

    Raises:
        UsageError: the package with the weights is not installed, or its file is another.
    """
    try:
        found = next((each for each in files(PACKAGE) or () if each.name == WEIGHTS), None)
        if found is None:
            raise PackageNotFoundError(PACKAGE)
        read = torch.load(Path(str(found.locate())), weights_only=True, map_location="cpu")
        made = PerceptualDistance()
        state = {"shift": read["scaling_layer.shift"], "scale": read["scaling_layer.scale"]}
        for place, layer in enumerate(LAYERS):
            state |= {f"convolutions.{place}.{part}": read[f"net.{layer}.{part}"] for part in ("weight", "bias")}
            state[f"weight_{place}"] = read[f"lin{place}.model.1.weight"].flatten()
        made.load_state_dict(state)
    except PackageNotFoundError:
        raise UsageError(
            "the perceptual loss needs weights, which are not installed",
            hint=f'pip install "ddbm-cli[perceptual]", or pass --objective {objective}:perceptual=0',
        ) from None
    except (OSError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"{PACKAGE}: its weights cannot be read ({str(error)[:100]})", hint=f"pip install --force {PACKAGE}"
        ) from None
    return made.to(device).eval().requires_grad_(False)


def _halved(x: Tensor) -> Tensor:
    """Return x blurred by (1, 2, 1) / 4 along both sides, with a stride of 2."""
    line = torch.tensor([1.0, 2.0, 1.0], device=x.device, dtype=x.dtype) / 4
    kernel = (line[:, None] * line[None, :]).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])
