"""CLIP's embeddings of images and of texts (arXiv:2103.00020).

The networks are not downloaded here: they are used if they are in the cache of Hugging Face, or in a folder.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.text import one_line
from ddbm_cli.metrics.base import need_libraries
from ddbm_cli.metrics.weights import MissingWeightsError, tensors_alone
from ddbm_cli.registry.library import constants, try_to_load_from_cache

ENCODER = "openai/clip-vit-large-patch14-336"
CONFIG = "config.json"
CLIP = "CLIP"
"""What errors call both encoders together."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's images, in 0..1."""

RESIZED = "bicubic to its size without antialiasing"


class ImageEncoder:
    """CLIP's image encoder, on a device: uint8 (N, 3, H, W) -> unit embeddings (N, D) on the CPU, float32.

    Args:
        what: the metric, for errors. name: of CLIP on the hub, or its folder.

    Raises:
        MissingExtraError, MissingWeightsError: the library or the network is missing.
        ModelError: the network is damaged.
    """

    def __init__(self, device: torch.device, what: str, name: str) -> None:
        network = _cached("CLIPVisionModelWithProjection", what, name)
        self._network = network.to(device)
        self._device = device
        self._size = network.config.image_size
        self.width: int = network.config.projection_dim

    def __call__(self, images: Tensor) -> Tensor:
        shape = (1, 3, 1, 1)
        mean, std = (torch.tensor(numbers, device=self._device).view(shape) for numbers in (MEAN, STD))
        wide = F.interpolate(images.to(self._device).float() / 255, (self._size, self._size), mode="bicubic")
        with torch.inference_mode():
            embeddings: Tensor = self._network(pixel_values=(wide - mean) / std).image_embeds
        return F.normalize(embeddings.float(), dim=-1).cpu()


class TextEncoder:
    """CLIP's text encoder, on a device: N texts -> unit embeddings (N, D) on the CPU, float32; texts are truncated.

    Arguments and errors are those of `ImageEncoder`.
    """

    def __init__(self, device: torch.device, what: str, name: str) -> None:
        self._network = _cached("CLIPTextModelWithProjection", what, name).to(device)
        self._words = _cached("CLIPTokenizer", what, name)
        self._device = device

    def __call__(self, texts: Sequence[str]) -> Tensor:
        length = self._network.config.max_position_embeddings
        given = self._words(list(texts), padding=True, max_length=length, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            embeddings: Tensor = self._network(**given.to(self._device)).text_embeds
        return F.normalize(embeddings.float(), dim=-1).cpu()


@lru_cache(maxsize=1)
def encoders(device: torch.device, name: str) -> tuple[ImageEncoder, TextEncoder]:
    """Return both encoders, the same ones for all who ask.

    Args:
        name: of CLIP on the hub, or its folder.

    Raises:
        MissingExtraError, MissingWeightsError, ModelError: as of `ImageEncoder`.
    """
    return ImageEncoder(device, CLIP, name), TextEncoder(device, CLIP, name)


def _cached(kind: str, what: str, name: str) -> Any:
    """Return a part of CLIP, by the name of its class in transformers."""
    check_cached(name, what)  # before the library is imported, which takes seconds
    need_libraries(["transformers"], what)
    import transformers
    from transformers.utils import logging

    quiet: Any = logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        with tensors_alone():
            return getattr(transformers, kind).from_pretrained(name, local_files_only=True)
    except (OSError, ValueError):
        raise _missing(name, what) from None
    except Exception as error:  # what the library raises that reads a damaged file
        message = f"{what}: {one_line(name)} cannot be loaded ({one_line(error)[:120]})"
        raise ModelError(message, hint="download it again") from None


def check_cached(name: str, what: str) -> None:
    """Check that CLIP is downloaded, without loading it; arguments as of `ImageEncoder`.

    Raises:
        MissingWeightsError: it is not.
    """
    if not _may_be_cached(name):
        raise _missing(name, what)


def _missing(name: str, what: str) -> MissingWeightsError:
    shown = one_line(name)
    return MissingWeightsError(f"{what}: {shown} is not in the cache of Hugging Face", hint=f"hf download {shown}")


def _may_be_cached(name: str) -> bool:
    if Path(name).is_absolute() or Path(name).is_dir():
        return Path(name).is_dir()
    try:
        return isinstance(try_to_load_from_cache(name, CONFIG, cache_dir=constants.HF_HUB_CACHE), str)
    except ValueError:  # not the name of a repository
        return False
