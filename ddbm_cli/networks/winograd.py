"""3x3 convolutions by Winograd's minimal filtering F(m x m, 3x3) (Lavin & Gray, arXiv:1509.09308).

    Y = A^T ((G g G^T) * (B^T d B)) A

with d a tile of (m+2) x (m+2) inputs, g a filter, Y the tile of m x m results, and * summed over the channels, as
(m+2)^2 products of matrices. For each pair of channels m = 4 takes 36 products instead of 144, m = 2 16 instead of 36.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Tiles:
    """The algorithm for one size of tiles.

    side: m, results along a side of a tile. filter: G. at_once: tiles that are computed together, so that what they
    need fits into a processor's cache; measured. into_input, out_of_products: write B^T d, and A^T p, into the first
    dimension of a tensor, d and p given along their first.
    """

    side: int
    filter: tuple[tuple[float, ...], ...]
    at_once: int
    into_input: Callable[[Sequence[Tensor], Tensor], None]
    out_of_products: Callable[[Tensor, Tensor], None]

    def filters(self, weight: Tensor) -> Tensor:
        """Return G g G^T of filters (O, C, 3, 3) as ((m+2)^2, C, O), in their type."""
        g = torch.tensor(self.filter, dtype=torch.float32, device=weight.device)
        places = weight.permute(2, 3, 0, 1).reshape(9, -1).float()
        both = torch.kron(g, g) @ places
        return both.to(weight.dtype).view(-1, *weight.shape[:2]).transpose(1, 2)

    def convolution(self, x: Tensor, filters: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution with padding 1.

        Args:
            x: (B, C, H, W), H and W multiples of m; any layout in memory.
            filters: of `filters`.
            bias: (O,).

        Returns:
            (B, O, H, W), channels last.
        """
        batch, _, height, width = x.shape
        down, across, side = height // self.side, width // self.side, self.side
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        result = x.new_empty(batch, height, width, filters.shape[2])
        images = max(1, self.at_once // (down * across))
        rows = max(1, min(down, self.at_once // across))
        for first in range(0, batch, images):
            for top in range(0, down, rows):
                end = min(top + rows, down)
                some = padded[first : first + images, side * top : side * end + 2]
                self._tiles(some, filters, bias, result[first : first + images, side * top : side * end])
        return result.permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, filters: Tensor, bias: Tensor | None, out: Tensor) -> None:
        """Write the convolution of x (B, H + 2, W + 2, C) into out (B, H, W, O)."""
        window, side, channels = self.side + 2, self.side, x.shape[3]
        batch, height, width, results = out.shape
        down, across = height // side, width // side
        rows = x.new_empty(window, batch, down, width + 2, channels)
        self.into_input([x[:, k : k + height - side + 1 : side] for k in range(window)], rows)
        inputs = x.new_empty(window, window, batch, down, across, channels)
        columns = [rows[:, :, :, k : k + width - side + 1 : side] for k in range(window)]
        self.into_input(columns, inputs.transpose(0, 1))
        products = torch.bmm(inputs.view(window**2, batch * down * across, channels), filters)
        products = products.view(window, window, batch, down, across, results)
        if bias is not None:
            products[1, 1] += bias  # the place of the point 1, which is added to every result
        rows = x.new_empty(side, window, batch, down, across, results)
        self.out_of_products(products, rows)
        by_tile = out.view(batch, down, side, across, side, results).permute(4, 2, 0, 1, 3, 5)
        self.out_of_products(rows.transpose(0, 1), by_tile)


def _into_four(d: Sequence[Tensor], out: Tensor) -> None:
    near, far = d[4] - d[2], d[3] - d[1]
    torch.add(near, d[0] - d[2], alpha=4, out=out[0])
    torch.add(near, far, alpha=2, out=out[3])
    torch.sub(near, far, alpha=2, out=out[4])
    torch.sub(d[5] - d[3], far, alpha=4, out=out[5])
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])


def _out_of_four(p: Tensor, out: Tensor) -> None:
    sums, differences = (p[1] + p[2], p[3] + p[4]), (p[1] - p[2], p[3] - p[4])
    torch.add(p[0] + sums[0], sums[1], out=out[0])
    torch.add(differences[0], differences[1], alpha=2, out=out[1])
    torch.add(sums[0], sums[1], alpha=4, out=out[2])
    torch.add(differences[0] + p[5], differences[1], alpha=8, out=out[3])


def _into_two(d: Sequence[Tensor], out: Tensor) -> None:
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def _out_of_two(p: Tensor, out: Tensor) -> None:
    torch.add(p[0] + p[1], p[2], out=out[0])
    torch.sub(p[1] - p[2], p[3], out=out[1])


FOUR = Tiles(
    4,
    (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    256,
    _into_four,
    _out_of_four,
)
"""m = 4, with the points 0, 1, -1, 2, -2 and infinity. In float32 its error is 2e-6 of the results' size."""

TWO = Tiles(
    2,
    ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    1024,
    _into_two,
    _out_of_two,
)
"""m = 2, with the points 0, 1, -1 and infinity: for bfloat16, where its error is three times a direct sum's."""
