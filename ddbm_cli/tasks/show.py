"""What a file holds: the card of a model, or the record of an image."""

from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.io import format_of, read_text
from ddbm_cli.models.resolve import described
from ddbm_cli.tasks.records import TEXT_KEY


def show(file: Path) -> dict[str, Any]:
    """Return a model's card with the facts of its file, or an image's record.

    Args:
        file: an image, or a model as after -m: a file, a run folder, a diffusers folder, a registry name.

    Raises:
        ModelError: no such model, or one that is damaged.
        ImageError: an image without a record.
    """
    if file.is_file() and format_of(file):
        return image_record(file)
    entry = described(str(file))
    facts = {**entry.facts(), "name": entry.name, "task": entry.task, "licence": entry.licence}
    facts["seen"] = list(facts.get("seen", ()))
    place = entry.path or (entry.builtin_file if entry.builtin else None)
    size = entry.size if place is None or place.is_dir() else place.stat().st_size
    return {"file": place.name if place else entry.file, "bytes": size, "sha256": entry.sha256 or None, **facts}


def prompt_of(file: Path) -> str:
    """Return the prompt in the record of an image, "" for none."""
    try:
        return str(image_record(file).get("prompt", ""))
    except ImageError:
        return ""


def image_record(file: Path) -> dict[str, Any]:
    """Return the record in an image that this program made.

    Raises:
        ImageError: there is none.
    """
    try:
        found = parse_json(read_text(file)[TEXT_KEY])
        found["sampler"]["name"], found["grid"]["name"]
        return dict(found)
    except (KeyError, TypeError, ValueError):
        raise ImageError(
            f"{file}: holds no record of how it was made", hint="only images written by ddbm translate or sample do"
        ) from None
