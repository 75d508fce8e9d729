"""The metadata of a safetensors file, read without its library: listing models must not import torch.

The file begins with the length of its header, 8 bytes, little-endian; the header is JSON.
"""

from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.card_format import upgrade

HEADER_KEY = "ddbm.card"
"""Where the card's JSON stands among a safetensors file's metadata."""

LONGEST_HEADER = 2**22
"""Bytes of the longest header that is read; the header of ten thousand tensors has a quarter of it."""


def read_card_body(path: Path) -> dict[str, Any]:
    """Return the card in a model file's header as plain values, in the current format.

    Raises:
        ModelError: the file has no card, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LONGEST_HEADER, path.stat().st_size):
                raise ValueError("no header")
            card = parse_json(parse_json(file.read(length))["__metadata__"][HEADER_KEY])
            if not isinstance(card, dict):
                raise ValueError("no card")
            return upgrade(card)
    except OSError as error:
        raise ModelError(f"{path}: not readable ({error.strerror})", hint="check the path") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ModelError(
            f"{path}: no model card in the file's header", hint="import it first: ddbm weights import --help"
        ) from None


def wrong_kind(begin: bytes) -> tuple[str, str] | None:
    """Return what a file is by its first bytes, where that is no file of weights, and what to do about it."""
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the file itself was not downloaded", "run: git lfs pull"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page (HTML), not a model file", "download the file itself: use its raw or direct link"
    return None
