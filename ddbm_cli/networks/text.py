"""A small text encoder, trained together with the network that it conditions.

Tokens are embedded, positions are learned, and layers of a transformer encoder (arXiv:1706.03762, with layer
normalisation before each part) let each token depend on the others. A first vector belongs to every text; an empty
text, as condition dropout gives, is this vector alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddbm_cli.networks.blocks import normal

NO_TOKEN = -1
"""Fills the places after the end of a text: of its tokens, or all channels of its features."""


class TextEncoder(nn.Module):
    """Tokens (B, L) -> features (B, 1 + L, width), and which of them belong to the text, bool (B, 1 + L).

    Args:
        vocabulary: number of tokens.
        length: number of tokens of a text, at most.
        width: channels of the features, a multiple of 32.
        layers: layers of the transformer.
    """

    def __init__(self, vocabulary: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, _weight=normal(vocabulary, width))
        self.first = nn.Parameter(normal(width))
        self.positions = nn.Parameter(normal(length, width, std=0.1))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 32, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and which of them belong to the text.

        Args:
            tokens: (B, L) integers, NO_TOKEN where there is none.
        """
        batch, length = tokens.shape
        embedded = self.tokens(tokens.clamp(min=0)) + self.positions[:length]
        x = torch.cat([self.first.expand(batch, 1, -1), embedded], dim=1)
        known = torch.cat([tokens.new_zeros(batch, 1), tokens], dim=1) >= 0
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~known)
        return self.norm(x), known


class GivenText(nn.Module):
    """Features (B, L, width) of a frozen encoder -> the same, normalised, after a vector that belongs to every text.

    As of `TextEncoder`, bool (B, 1 + L) are those that belong to the text: not those that are NO_TOKEN in all channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Parameter(normal(width))
        self.norm = nn.LayerNorm(width)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and which of them belong to the text."""
        known = F.pad(~(given == NO_TOKEN).all(dim=2), (1, 0), value=True)
        x = torch.cat([self.first.expand(len(given), 1, -1), self.norm(given.to(self.first.dtype))], dim=1)
        return x, known


def pooled(features: Tensor, known: Tensor) -> Tensor:
    """Return the mean (B, width) of the features (B, L, width) that belong to the text, bool (B, L)."""
    share = known.to(features.dtype)
    return torch.einsum("blw,bl->bw", features, share / share.sum(dim=1, keepdim=True))
