"""The folder of triplets: images before and after an edit, and the list of them with their instructions."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_text
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.writing import save_in_folder
from ddbm_cli.tasks.events import Event, Failed, Written

LIST = "pairs.jsonl"
SIDES = ("before", "after")


class Triplets:
    """The triplets of a run, written to OUT/before, OUT/after and OUT/pairs.jsonl.

    Args:
        folder: OUT. overwrite: replace images that exist.

    Attributes:
        written, kept, failed: counts.

    Raises:
        UsageError: it is no folder, or the list is a file that this task did not write.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self.folder, self.overwrite = folder, overwrite
        self.written = self.kept = self.failed = 0
        self._lines: list[str] = []
        file, hint = folder / LIST, "choose another folder for the pairs"
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: not a folder", hint=hint)
        if file.exists() and '"edit": ' not in read_text(file, hint=hint).split("\n")[0]:
            raise UsageError(f"{file}: exists and is not a list of edits", hint=hint)

    def files(self, name: str) -> tuple[Path, Path]:
        """Return the files of a triplet's images, before and after the edit."""
        before, after = (self.folder / side / f"{name}.png" for side in SIDES)
        return before, after

    def exists(self, name: str) -> bool:
        """Return whether both images exist."""
        return all(file.exists() for file in self.files(name))

    def save(self, name: str, pictures: Sequence[Any]) -> None:
        """Write both images.

        Raises:
            ImageError: one cannot be written.
        """
        for picture, file in zip(pictures, self.files(name), strict=True):
            save_in_folder(picture, file)

    def keep(self, name: str, source: Path, pictures: Callable[[], Sequence[Any]]) -> Iterator[Event]:
        """Keep the images of a triplet that exist, unless they are overwritten, else write them.

        Args:
            source: what they are made from. pictures: returns the images.

        Raises:
            ImageError: one cannot be written.
        """
        if self.exists(name) and not self.overwrite:
            self.kept += 1
            return
        self.save(name, pictures())
        yield self.count(name, source)

    def count(self, name: str, source: Path) -> Written:
        """Return the event of a triplet whose images are written now."""
        self.written += 1
        before, after = self.files(name)
        return Written(source=source, output=after, record={"source": str(before)})

    def list(self, name: str, *, caption: str, edit: str, split: str = "", **more: Any) -> None:
        """Add a triplet to the list.

        Args:
            caption: the instruction. edit: its kind. split: "" for none. more: further columns.
        """
        before, after = (f"{side}/{name}.png" for side in SIDES)
        line = {"source": before, "target": after, "caption": caption, "edit": edit}
        line |= ({"split": split} if split else {}) | more
        self._lines.append(json.dumps(line, ensure_ascii=False))

    def fail(self, source: Path, error: DdbmError) -> Failed:
        """Return the event of an image or a caption that cannot be used."""
        self.failed += 1
        return Failed(source=source, message=error.message, hint=error.hint)

    def write_list(self) -> None:
        """Write the list; without triplets there is none."""
        if self._lines:
            write_text(self.folder / LIST, "\n".join(self._lines) + "\n")
        else:
            (self.folder / LIST).unlink(missing_ok=True)
