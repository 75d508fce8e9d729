"""The metadata of a safetensors file, read without its library: listing models must not import torch.

The file begins with the length of its header, 8 bytes, little-endian; the header is JSON.
"""

import json
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ModelError

HEADER_KEY = "ddbm.card"
"""Where the card's JSON stands among a safetensors file's metadata."""

LONGEST = 100_000_000
"""Bytes of the longest header that the format allows."""


def read_card_body(path: Path) -> dict[str, Any]:
    """Return the card in a model file's header as plain values.

    Raises:
        ModelError: the file is no model file of ours, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LONGEST, path.stat().st_size):
                raise ValueError("no header")
            card = json.loads(json.loads(file.read(length))["__metadata__"][HEADER_KEY])
            if not isinstance(card, dict):
                raise ValueError("no card")
            return card
    except OSError as error:
        raise ModelError(f"{path}: not readable ({error.strerror})", hint="check the path") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ModelError(f"{path}: no model card in the file's header", hint="ddbm weights import --help") from None
