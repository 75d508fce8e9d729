"""Which images of an evaluation the models were trained on: their scores are too good.

The models are those that the outputs' records name, where they are built in or near the outputs, and the prior.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.events import Noticed
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.metrics.feed import Item
from ddbm_cli.models.resolve import card_of_reference
from ddbm_cli.models.seen import TRAINING, split_of, split_of_digest
from ddbm_cli.registry import read_registry
from ddbm_cli.tasks.search import Search
from ddbm_cli.tasks.show import image_record

DIGEST = re.compile("[0-9a-f]{64}")


def notices(items: Iterable[Item], prior: str | None) -> Iterator[Noticed]:
    """Yield one notice per model and kind of image: sources, targets, and for a prior the outputs themselves."""
    items = list(items)
    records = {item.name: _record(item.output) for item in items}
    models = {
        (str(records[item.name].get("model", "")), str(records[item.name].get("model_sha256", ""))): item.output
        for item in items
    }
    for (name, digest), output in models.items():
        splits = _splits(name, digest, output)
        if not splits:
            continue
        mine = [item for item in items if records[item.name].get("model_sha256") == digest]
        sources = [str(item.output) for item in mine if _source_is_known(records[item.name], splits)]
        targets = [str(item.target) for item in mine if item.target and _is_known(item.target, splits)]
        yield from _notice(sources, "outputs are of training images", name)
        yield from _notice(targets, "targets are training images", name)
    if prior is not None:
        with suppress(DdbmError):
            card, _ = card_of_reference(prior)
            known = [str(item.output) for item in items if _is_known(item.output, card.seen)]
            yield from _notice(known, "outputs are training images", card.name)


def _notice(names: list[str], words: str, model: str) -> Iterator[Noticed]:
    if names:
        yield Noticed(message=f"{len(names)} {words} of model '{model}': their scores are too good", names=names)


def _record(file: Path) -> dict[str, Any]:
    try:
        return image_record(file)
    except DdbmError:
        return {}


def _splits(name: str, digest: str, output: Path) -> Mapping[str, str]:
    """Return the filters of the model that made an output, nothing where it is not found."""
    if not DIGEST.fullmatch(digest):
        return {}
    try:
        entry = read_registry().get(name)
        builtin = entry is not None and entry.builtin and sha256_of_file(entry.builtin_file) == digest
        file = entry.builtin_file if entry is not None and builtin else Search(output).model(digest, name)
        return {} if file is None else card_of_reference(file)[0].seen
    except (DdbmError, OSError):
        return {}


def _source_is_known(record: Mapping[str, Any], splits: Mapping[str, str]) -> bool:
    digest = str(record.get("source_sha256", ""))
    return bool(DIGEST.fullmatch(digest)) and split_of_digest(splits, bytes.fromhex(digest)) == TRAINING


def _is_known(file: Path, splits: Mapping[str, str]) -> bool:
    try:
        return split_of(splits, file) == TRAINING
    except OSError:
        return False
