"""The texts of a pipeline in diffusers' layout as labels of its network, and as embeddings by its text encoders (CLIP).

Stable Diffusion takes the last features of one encoder, SDXL the last but one of two, in a row, and an embedding of the
whole text.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.encoders import CONFIG, KINDS, PART, WHOLE, WORDS, FrozenEncoder, Place
from ddbm_cli.models.layout import read_json
from ddbm_cli.networks.diffusers import DiffusersNetwork

ENCODERS = ((PART, WORDS), (f"{PART}_2", f"{WORDS}_2"))
"""Folders of text encoders with those of their tokenizers, in order."""

INDEX = "model_index.json"

AT_ONCE = 64
"""Texts that are embedded in one batch."""


class PipelineTexts:
    """The texts of a loaded pipeline: each has a label, whose embedding its network has.

    Args:
        folder: the pipeline's.
        network: what gets the embeddings of further texts.
        texts: those that it has, that of no label first.
    """

    def __init__(self, folder: Path, network: DiffusersNetwork, texts: Sequence[str]) -> None:
        self._folder, self._network = folder, network
        self._labels = {text: label for label, text in enumerate(texts, start=NO_LABEL)}

    def __len__(self) -> int:
        return len(self._labels)

    def label(self, text: str) -> Tensor:
        """Return the label of a text, 0-d; a text that is new is embedded.

        Raises:
            UsageError: the text is too long.
            ModelError: as `embed`.
        """
        self.add([text])
        return torch.tensor(self._labels[text])

    def add(self, texts: Sequence[str]) -> None:
        """Embed several texts at once; those that the network has are left out.

        Raises:
            UsageError, ModelError: as `label`.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._labels]
        if not new:
            return
        self._network.add_texts(*embed(self._folder, new))
        self._labels |= {text: label for label, text in enumerate(new, start=len(self) + NO_LABEL)}

    def replace(self, texts: Sequence[str]) -> None:
        """Embed several texts in the place of all others, so that many, one after another, need no more memory.

        Raises:
            UsageError, ModelError: as `label`.
        """
        self._network.keep_texts(1)
        self._labels = {text: label for text, label in self._labels.items() if label == NO_LABEL}
        self.add(texts)


def tokens_of(folder: Path) -> int:
    """Return the number of tokens of each text, 0 for a pipeline without text encoder.

    Raises:
        ModelError: its settings are not readable.
    """
    file = folder / ENCODERS[0][0] / CONFIG
    if not file.is_file():
        return 0
    count = read_json(file).get("max_position_embeddings", 77)
    if type(count) is not int or not 1 <= count <= 4096:
        raise ModelError(f"{file}: max_position_embeddings is {count!r:.40}", hint="download the file again")
    return count


@torch.no_grad()
def embed(folder: Path, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings of texts: (N, tokens, width), and for SDXL of the whole texts (N, width); float32.

    Args:
        folder: a pipeline's.

    Raises:
        ModelError: an encoder is missing or damaged, or its libraries are not installed.
        UsageError: a text is too long.
    """
    names = [pair for pair in ENCODERS if (folder / pair[0]).is_dir()]
    found: list[Tensor] = []
    pooled: Tensor | None = None
    for part, tokenizer in names:
        kind = KINDS["clip"] if part == ENCODERS[0][0] else WHOLE
        encoder = FrozenEncoder(Place(kind, folder / part, folder / tokenizer))
        tokens = torch.split(encoder.padded(texts), AT_ONCE)
        outputs = [encoder.model(each, output_hidden_states=True) for each in tokens]
        parts = [each.hidden_states[-2] if len(names) > 1 else each.last_hidden_state for each in outputs]
        found.append(torch.cat(parts))
        whole = [each.text_embeds for each in outputs if hasattr(each, "text_embeds")]
        pooled = torch.cat(whole) if whole else None
        del encoder, outputs
    context = torch.cat(found, dim=-1)
    if pooled is not None and _empty_is_zero(folder):
        said = torch.tensor([bool(text) for text in texts])
        context, pooled = context * said[:, None, None], pooled * said[:, None]
    return context, pooled


def _empty_is_zero(folder: Path) -> bool:
    """Return whether no text is zeros, as SDXL's index states."""
    file = folder / INDEX
    return bool(read_json(file).get("force_zeros_for_empty_prompt", True)) if file.is_file() else True
