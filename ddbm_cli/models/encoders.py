"""Text encoders of transformers that are used as they are: CLIP's (arXiv:2103.00020) and T5's (arXiv:1910.10683).

They are read from folders or from the cache of Hugging Face. Only safetensors files are read, and no code of a folder
is run.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.foundation.text import one_line
from ddbm_cli.models.vocabulary import check_characters
from ddbm_cli.networks.diffusers import EXTRA, MOST_LAYERS, repeats
from ddbm_cli.registry.library import constants, try_to_load_from_cache

CONFIG, WEIGHTS, SHARDS = "config.json", "model.safetensors", "model-*.safetensors"
PART, WORDS = "text_encoder", "tokenizer"
"""Folders of a pipeline."""

T5_LENGTH = 128
"""Tokens of a text for T5, which itself has no limit: as in Imagen (arXiv:2205.11487)."""

AT_ONCE = 1024
"""Texts that are tokenised at once."""

AGAIN = "download the file again"


class Kind(NamedTuple):
    """The classes of an encoder and of its tokenizer, in transformers."""

    encoder: str
    tokenizer: str


KINDS = {"clip": Kind("CLIPTextModel", "CLIPTokenizer"), "t5": Kind("T5EncoderModel", "T5Tokenizer")}
WHOLE = Kind("CLIPTextModelWithProjection", "CLIPTokenizer")
"""CLIP's encoder with an embedding of the whole text."""


class Place(NamedTuple):
    """Where an encoder is: its kind, its folder, and that of its tokenizer."""

    kind: Kind
    folder: Path
    tokenizer: Path

    @property
    def digest(self) -> str:
        """One sha256 of the files with the weights.

        Raises:
            ModelError: there are none.
        """
        single = self.folder / WEIGHTS
        files = [single] if single.is_file() else sorted(self.folder.glob(SHARDS))
        if not files:
            raise ModelError(f"{self.folder}: has no {WEIGHTS}", hint="download it; weights in pickles are not read")
        return sha256("".join(map(sha256_of_file, files)).encode())


def find_encoder(reference: str) -> Place:
    """Return where an encoder is, without reading it.

    Args:
        reference: "clip:" or "t5:", and a folder or "org/repo[@revision]" in the cache of Hugging Face: with an
            encoder and its tokenizer, or with text_encoder/ and tokenizer/.

    Raises:
        UsageError: it is no such reference.
        ModelError: it is not there.
    """
    kind, _, name = reference.partition(":")
    if kind not in KINDS or not name:
        raise UsageError(
            f"'{one_line(reference)[:80]}' is no text encoder",
            hint="write clip:FOLDER, t5:FOLDER, or a repository, such as clip:openai/clip-vit-large-patch14",
        )
    folder = Path(name).expanduser()
    with suppress(OSError, ValueError):  # no name of a file
        folder = folder if folder.is_dir() else _cached(name) or folder
        if (folder / PART / CONFIG).is_file():
            return Place(KINDS[kind], folder / PART, folder / WORDS)
        if (folder / CONFIG).is_file():
            return Place(KINDS[kind], folder, folder)
    shown = one_line(name)[:200]
    raise ModelError(
        f"text encoder {shown}: neither a folder with a {CONFIG} nor in the cache of Hugging Face",
        hint=f"restore the folder, or: hf download {shown}",
    )


def _cached(name: str) -> Path | None:
    repo, _, revision = name.partition("@")
    for file, depth in ((CONFIG, 0), (f"{PART}/{CONFIG}", 1)):
        found = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision or None)
        if isinstance(found, str):
            return Path(found).parents[depth]
    return None


class FrozenEncoder:
    """A text encoder with its tokenizer, in float32; its weights do not change.

    width: of the features. length: number of tokens of a text, at most.

    Raises:
        ModelError: a file is missing or damaged, or transformers is not installed.
    """

    def __init__(self, place: Place) -> None:
        try:
            import transformers
            from transformers.utils import logging
        except ImportError:
            raise ModelError("texts need the package transformers", hint=EXTRA) from None
        quiet: Any = logging
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        kind, folder = getattr(transformers, place.kind.encoder), place.folder
        _check_size(folder, kind)
        self.folder, self._lock = folder, Lock()
        try:
            self.model, loaded = kind.from_pretrained(
                folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            words = getattr(transformers, place.kind.tokenizer)
            self._words: Any = words.from_pretrained(place.tokenizer, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            raise _unloadable(folder, error) from None
        if loaded["missing_keys"]:
            missing = sorted(loaded["missing_keys"])[0]
            raise ModelError(f"{folder}: its files have no weights '{one_line(missing)[:80]}'", hint=AGAIN)
        self.model.eval().requires_grad_(False)
        self.width: int = self.model.config.hidden_size
        self.length: int = getattr(self.model.config, "max_position_embeddings", T5_LENGTH)

    def to(self, device: torch.device) -> None:
        """Move the encoder to a device."""
        self.model.to(device)

    def check(self, texts: Sequence[str]) -> None:
        """Check the lengths of texts.

        Raises:
            UsageError: one is too long.
            ModelError: the tokenizer is damaged.
        """
        check_characters(texts)
        ends = self._words.num_special_tokens_to_add()
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            for text, row in zip(some, self._tokens(some)["input_ids"], strict=True):
                if len(row) > self.length:
                    raise UsageError(
                        f"a text of {len(row) - ends} tokens, '{one_line(text)[:40]}...'; this model takes at most"
                        f" {self.length - ends}",
                        hint="shorten the text",
                    )

    def padded(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of texts, (N, length), filled up by the tokenizer.

        Raises:
            UsageError, ModelError: as `check`.
        """
        self.check(texts)
        return self._tensor(texts, padding="max_length", max_length=self.length)

    @torch.no_grad()
    def features(self, text: str, *, padded: bool) -> Tensor:
        """Return the last features of a text, (tokens, width), float32 on the CPU.

        Args:
            padded: those of the tokens that fill it up are features too.

        Raises:
            UsageError, ModelError: as `check`.
        """
        if padded:
            tokens = self.padded([text])
        else:
            self.check([text])
            tokens = self._tensor([text])
        with self._lock:
            found: Tensor = self.model(tokens.to(self.model.device)).last_hidden_state[0]
            return found.float().cpu()

    def _tensor(self, texts: Sequence[str], **how: Any) -> Tensor:
        tokens: Tensor = self._tokens(texts, return_tensors="pt", **how)["input_ids"]
        return tokens

    def _tokens(self, texts: Sequence[str], **how: Any) -> Any:
        try:
            with self._lock:
                return self._words(list(texts), **how)
        except (ValueError, RuntimeError, KeyError) as error:
            raise _unloadable(self.folder, error) from None


def _unloadable(folder: Path, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    hint = "download the folder again, with its .safetensors files"
    return ModelError(f"{folder}: cannot be loaded ({reason})", hint=hint)


def _check_size(folder: Path, kind: Any) -> None:
    """Raise if a part's settings describe more weights than its file has bytes, before memory for them is allocated."""
    try:
        settings = parse_json((folder / CONFIG).read_bytes())
        if isinstance(settings.get("text_config"), dict):  # of CLIP with its encoder of images
            settings = settings["text_config"]
        if any(number > MOST_LAYERS for number in repeats(settings)):
            raise ModelError(f"{folder}: its config.json describes more than {MOST_LAYERS} layers", hint=AGAIN)
        with torch.device("meta"):
            network = kind(kind.config_class.from_dict(settings))
        wanted = sum(each.numel() for each in network.parameters())
        found = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder}: config.json is not readable ({str(error)[:100]})", hint=AGAIN) from None
    if found and found < wanted:
        raise ModelError(
            f"{folder}: its config.json describes {wanted:,} weights, its file has {found:,} bytes", hint=AGAIN
        )
