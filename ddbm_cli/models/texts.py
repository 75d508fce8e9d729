"""The texts of a pipeline in diffusers' layout as labels of its network, and as embeddings by its text encoders (CLIP).

Stable Diffusion takes the last features of one encoder, SDXL the last but one of two, in a row, and an embedding of the
whole text. Only safetensors files are read, and no code of the folder is run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.text import one_line
from ddbm_cli.models.layout import read_json
from ddbm_cli.networks.diffusers import EXTRA, MOST_LAYERS, DiffusersNetwork, repeats

ENCODERS = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))
"""Folders of text encoders with those of their tokenizers, in order."""

CONFIG, INDEX = "config.json", "model_index.json"

AT_ONCE = 64
"""Texts that are embedded in one batch."""

ENDS = 2
"""Tokens at the ends of each text."""


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
    for encoder, tokenizer in names:
        model, tokens = _load(folder, encoder, tokenizer, texts, whole=encoder != ENCODERS[0][0])
        outputs = [model(each, output_hidden_states=True) for each in torch.split(tokens, AT_ONCE)]
        parts = [each.hidden_states[-2] if len(names) > 1 else each.last_hidden_state for each in outputs]
        found.append(torch.cat(parts))
        whole = [each.text_embeds for each in outputs if hasattr(each, "text_embeds")]
        pooled = torch.cat(whole) if whole else None
        del model, outputs
    context = torch.cat(found, dim=-1)
    if pooled is not None and _empty_is_zero(folder):
        said = torch.tensor([bool(text) for text in texts])
        context, pooled = context * said[:, None, None], pooled * said[:, None]
    return context, pooled


def _empty_is_zero(folder: Path) -> bool:
    """Return whether no text is zeros, as SDXL's index states."""
    file = folder / INDEX
    return bool(read_json(file).get("force_zeros_for_empty_prompt", True)) if file.is_file() else True


def _load(folder: Path, encoder: str, tokenizer: str, texts: Sequence[str], *, whole: bool) -> tuple[Any, Tensor]:
    """Return a text encoder, and the tokens (N, count) of texts.

    whole: it has an embedding of the whole text.
    """
    try:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
        from transformers.utils import logging
    except ImportError:
        raise ModelError("texts need the package transformers", hint=EXTRA) from None
    quiet: Any = logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    kind: Any = CLIPTextModelWithProjection if whole else CLIPTextModel
    _check_size(folder / encoder, kind)
    try:
        model = kind.from_pretrained(
            folder / encoder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        words = CLIPTokenizer.from_pretrained(folder / tokenizer, local_files_only=True)
        count = model.config.max_position_embeddings
        lengths = [len(row) for row in words(list(texts)).input_ids]
        given = words(list(texts), padding="max_length", max_length=count, truncation=True, return_tensors="pt")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{folder / encoder}: cannot be loaded ({reason})",
            hint="download the folder again, with its .safetensors files",
        ) from None
    for text, length in zip(texts, lengths, strict=True):
        if length > count:
            begins = f"'{one_line(text)[:40]}...'"
            raise UsageError(
                f"a text of {length - ENDS} tokens, {begins}; this model takes at most {count - ENDS}",
                hint="shorten the text",
            )
    return model.eval().requires_grad_(False), given.input_ids


def _check_size(folder: Path, kind: Any) -> None:
    """Raise if a part's settings describe more weights than its file has bytes, before memory for them is allocated."""
    hint = "download the file again"
    try:
        settings = parse_json((folder / CONFIG).read_bytes())
        if any(number > MOST_LAYERS for number in repeats(settings)):
            raise ModelError(f"{folder}: its config.json describes more than {MOST_LAYERS} layers", hint=hint)
        with torch.device("meta"):
            network = kind(kind.config_class.from_dict(settings))
        wanted = sum(each.numel() for each in network.parameters())
        found = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder}: config.json is not readable ({str(error)[:100]})", hint=hint) from None
    if found and found < wanted:
        raise ModelError(
            f"{folder}: its config.json describes {wanted:,} weights, its file has {found:,} bytes", hint=hint
        )
