"""What a file holds: the card of a model, or the record of an image."""

import json
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.imaging.io import format_of, read_text
from ddbm_cli.models.card import describe_card, read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.tasks.records import TEXT_KEY


def show(file: Path) -> dict[str, Any]:
    """Return a model's card with the facts of its file, or an image's record.

    Raises:
        ModelError: no such file, not a safetensors file, or one without a card.
        ImageError: an image without a record.
    """
    if file.is_file() and format_of(file):
        return image_record(file)
    card = describe_card(read_card(read_header(file), file=file.name))
    card["splits"] = list(card["splits"])  # the filters themselves are for `compare`
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of_file(file), **card}


def image_record(file: Path) -> dict[str, Any]:
    """Return the record in an image that this program made.

    Raises:
        ImageError: there is none.
    """
    try:
        found = json.loads(read_text(file)[TEXT_KEY])
        found["sampler"]["name"], found["grid"]["name"]
        return dict(found)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ImageError(
            f"{file}: holds no record of how it was made", hint="only images written by ddbm translate or sample do"
        ) from None
