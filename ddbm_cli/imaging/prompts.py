"""The prompt of each image: one for all, that of a file, or a text file next to the image.

A file holds one prompt per line, in the order of the images; or NAME, a tab and a prompt; or it is a list (CSV, TSV,
JSON, JSON Lines) with a column of names and one of prompts.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ddbm_cli.foundation.documents import read_text
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.files import STANDARD, Job
from ddbm_cli.imaging.lists import CAPTIONS, LARGEST_LIST, is_list, lines_of
from ddbm_cli.imaging.walk import stem_key

NAMES = ("name", "file_name", "file", "image", "input_image", "input", "source")
"""Names of the column of images."""

PROMPTS = (*CAPTIONS, "instruction")
"""Names of the column of prompts."""

LONGEST = 2**16
"""Bytes of a text file next to an image, at most."""

FORMS = "write one prompt per line in the order of the images, or NAME, a tab and the prompt"


class Prompts:
    """The prompts of a run.

    Args:
        text: of all images, "" for none.
        file: a file of prompts, None for none.

    Raises:
        UsageError: both are given, or the file cannot be read or has an empty prompt.
    """

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        if text and file is not None:
            raise UsageError("--prompt and --prompts are mutually exclusive", hint="pass one of them")
        self._text, self._file = text, file
        self._listed, self._named = ((), {}) if file is None else _read(file)
        self._beside = False

    @property
    def each(self) -> bool:
        """Whether images have prompts of their own."""
        return self._file is not None or self._beside

    @property
    def in_order(self) -> bool:
        """Whether the file names no images."""
        return bool(self._listed)

    @property
    def given(self) -> bool:
        """Whether images have prompts."""
        return bool(self._text) or self.each

    def assign(self, jobs: Sequence[Job], *, beside: bool) -> None:
        """Give each image its prompt, before the first is made.

        Args:
            jobs: all of the run.
            beside: use the text files next to images, where there are any and no prompt is given.

        Raises:
            UsageError: there are more or fewer prompts than images, or an image has none.
        """
        sources = {job.name: job for job in jobs}
        if self._listed:
            if len(self._listed) != len(sources):
                counts = f"{_count(len(self._listed), 'prompt')} for {_count(len(sources), 'image')}"
                raise UsageError(f"{self._file}: {counts}", hint=FORMS)
            self._named = dict(zip(sources, self._listed, strict=True))
        elif beside and not self.given:
            files = {name: text_file(job) for name, job in sources.items()}
            self._beside = any(file and file.is_file() for file in files.values())
            for name, file in files.items() if self._beside else ():
                if file is None or not file.is_file():
                    raise UsageError(f"{name}: no prompt: there is no {file}", hint=f"write {file}, or pass --prompts")
                self._named[name] = _beside(file)
        for job in sources.values() if self.each else ():
            try:
                self.of(job)
            except ImageError as error:
                raise UsageError(error.message, hint=error.hint) from None

    def of(self, job: Job) -> str:
        """Return the prompt of an image, "" for none.

        Raises:
            ImageError: others have one.
        """
        if not self.each:
            return self._text
        own = job.name.rpartition("/")[2]
        for key in (job.name, stem_key(job.name), own, stem_key(own)):
            if key in self._named:
                return self._named[key]
        raise ImageError(f"{job.name}: no prompt in {self._file}", hint="add a line: its name, a tab and the prompt")

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield where each prompt of an image is from, in words for errors, and the prompt; nothing for one for all."""
        for name, text in self._named.items():
            yield f"the prompt of {name}", text


def text_file(job: Job) -> Path | None:
    """Return the path of the text file next to an image, None for standard input."""
    return None if str(job.source) == STANDARD else job.source.with_suffix(".txt")


def _beside(file: Path) -> str:
    text = read_text(file, hint="write a prompt as plain text", limit=LONGEST).strip()
    if not text:
        raise UsageError(f"{file}: an empty prompt", hint="write a prompt, or remove the file")
    return text


def _read(file: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the prompts of a file in order, or by the names of images."""
    if is_list(file):
        rows = [(f"{file}, line {number}", _of_row(row, file)) for number, row in lines_of(file)]
        return (), _by_name(file, rows)
    text = read_text(file, hint=FORMS, limit=LARGEST_LIST)
    lines = [(f"{file}, line {number}", line.strip()) for number, line in enumerate(text.rstrip().splitlines(), 1)]
    if not text.strip():
        raise UsageError(f"{file}: no prompts in this file", hint=FORMS)
    if not any("\t" in line for _, line in lines):
        return tuple(_checked(where, line) for where, line in lines), {}
    for where, line in lines:
        if "\t" not in line:
            raise UsageError(f"{where}: no tab between a name and a prompt, as in other lines", hint=FORMS)
    return (), _by_name(file, [(where, tuple(line.split("\t", 1))) for where, line in lines])


def _of_row(row: Mapping[str, object], file: Path) -> tuple[str, str]:
    plain = {key.strip().lower(): value for key, value in row.items() if isinstance(key, str)}
    found = [next((plain[name] for name in names if name in plain), None) for names in (NAMES, PROMPTS)]
    if found[0] is None:
        columns = ", ".join(plain) or "none"
        raise UsageError(f"{file}: no column of names; its columns: {columns}", hint="add the columns name and prompt")
    return str(found[0]), str(found[1] or "")


def _by_name(file: Path, rows: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for where, (name, text) in rows:
        name = name.strip().replace("\\", "/")
        if name in found:
            raise UsageError(f"{where}: a second prompt for {name}", hint="remove one of them")
        found[name] = _checked(where, text.strip())
    if not found:
        raise UsageError(f"{file}: no prompts in this file", hint=FORMS)
    return found


def _checked(where: str, text: str) -> str:
    if not text:
        raise UsageError(f"{where}: an empty prompt", hint="write a prompt, or remove the line")
    return text


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
