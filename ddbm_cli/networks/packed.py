"""Weights of convolutions in the layouts that a CPU computes fastest with, made once and kept.

PyTorch brings a convolution's weights into the order that oneDNN wants at every call, which takes as long as the
convolution itself where images are small. Inductor keeps them in that order for networks that it compiles; the same
operators are used here. Large filters on large images are computed by Winograd's algorithm.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.networks import winograd

LEAST_CHANNELS = 128
"""Channels on either side, and"""

LEAST_PLACES = 16 * 16
"""positions of an image, from which Winograd's algorithm is faster than oneDNN's best convolution; measured."""

TILES = {torch.float32: winograd.FOUR, torch.bfloat16: winograd.TWO}

_Compute = Callable[[Tensor, Tensor | None], Tensor]


class Packed:
    """The packed weights of one convolution with stride 1 that keeps the size, for use on a CPU without derivatives.

    A weight that is exchanged or changed in place is packed again. A copy begins without packed weights.
    """

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._made: dict[winograd.Tiles | None, _Compute] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Packed":
        return Packed()

    def __reduce__(self) -> tuple[type["Packed"], tuple[()]]:
        return Packed, ()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution (B, O, H, W), channels last; what is chosen depends on all of x but the batch.

        Args:
            x: (B, C, H, W), channels last, in the type of the weights.
            weight: (O, C, 3, 3) or (O, C, 1, 1).
            bias: (O,).
        """
        now = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        if now != self._of:
            self._of, self._made = now, {}
        tiles = tiles_for(x, weight)
        if tiles not in self._made:
            self._made[tiles] = _winograd(weight, tiles) if tiles else direct(x, weight)
        return self._made[tiles](x, bias)


def is_possible(x: Tensor) -> bool:
    """Return whether convolutions of x can use packed weights here."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and has_bfloat16())


def tiles_for(x: Tensor, weight: Tensor) -> winograd.Tiles | None:
    """Return the tiles with which Winograd's algorithm computes a convolution; None for oneDNN's convolution."""
    tiles = TILES[x.dtype]
    *_, height, width = x.shape
    fits = weight.shape[2:] == (3, 3) and height % tiles.side == width % tiles.side == 0
    large = min(weight.shape[:2]) >= LEAST_CHANNELS and height * width >= LEAST_PLACES
    return tiles if fits and large else None


def _winograd(weight: Tensor, tiles: winograd.Tiles) -> _Compute:
    filters = tiles.filters(weight)
    return lambda x, bias: tiles.convolution(x, filters, bias)


def direct(x: Tensor, weight: Tensor) -> _Compute:
    """Return oneDNN's convolution of images like x, with packed weights."""
    padding, ones = [side // 2 for side in weight.shape[2:]], [1, 1]
    # The order depends on the size of images, not on their number.
    shape = [1, *x.shape[1:]]
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), padding, ones, ones, 1, shape)  # type: ignore[call-arg]
    call = torch.ops.mkldnn._convolution_pointwise
    return lambda x, bias: call(x, packed, bias, padding, ones, ones, 1, "none", [], "")


def is_available() -> bool:
    """Return whether this build of PyTorch has the operators."""
    try:
        weight = torch.zeros(1, 1, 1, 1)
        with torch.inference_mode():
            direct(weight, weight)(weight, None)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def has_bfloat16() -> bool:
    """Return whether oneDNN computes in bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
