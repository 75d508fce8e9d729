"""Simulated pairs of a round in files, so that later steps and a resumed run need not simulate them again.

Every file holds the rows of one batch that one process uses. Its header has the digest of what the pairs were simulated
with; a file with another one, a damaged one, and one that cannot be written are as good as none. Files of earlier
rounds are removed when the first of a new round is written, so that no more than one round is on the disk.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from ddbm_cli.foundation.devices import is_finite
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256_of_parts
from ddbm_cli.models.checkpoint import open_tensors, write_tensors

KEY = "ddbm.pairs"

_OWN = re.compile(r"round-(\d{8,})-batch-\d{5,}-rows-\d{1,6}-\d{1,6}\.safetensors")


def digest_of(module: nn.Module, *more: object) -> str:
    """Return the digest of the weights of a module, and of more values."""
    tensors = sorted(module.state_dict().items())
    parts = (part for name, value in tensors for part in (name.encode(), value.cpu().contiguous().numpy().tobytes()))
    return sha256_of_parts([repr(more).encode(), *parts])


class PairFiles:
    """Files of pairs.

    Args:
        folder: theirs; created when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, digest: str, begin: int, place: int, rows: slice) -> list[Tensor] | None:
        """Return the tensors of a batch, None if they are not kept.

        Args:
            digest: of what they depend on. begin: first step of the round. place: number of the batch in it.
            rows: of the batch.
        """
        with suppress(ModelError, KeyError, OSError), open_tensors(self._file(begin, place, rows)) as file:
            if (file.metadata() or {}).get(KEY) != digest:
                return None
            tensors = [file.get_tensor(str(number)) for number in range(len(file.keys()))]
            rows_of = {len(each) for each in tensors}
            if rows_of == {rows.stop - rows.start} and all(map(is_finite, tensors)):
                return tensors
        return None

    def write(self, digest: str, begin: int, place: int, rows: slice, tensors: Sequence[Tensor]) -> None:
        """Keep the tensors of a batch, each with its rows first; nothing is kept where the disk takes nothing."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_others(begin)
            named = {str(number): each for number, each in enumerate(tensors)}
            write_tensors(self._file(begin, place, rows), named, {"format": "pt", KEY: digest})

    def _file(self, begin: int, place: int, rows: slice) -> Path:
        return self.folder / f"round-{begin:08d}-batch-{place:05d}-rows-{rows.start}-{rows.stop}.safetensors"

    def _remove_others(self, begin: int) -> None:
        for file in self.folder.iterdir():
            found = _OWN.fullmatch(file.name)
            if found and int(found[1]) != begin and not file.is_symlink():
                file.unlink(missing_ok=True)
