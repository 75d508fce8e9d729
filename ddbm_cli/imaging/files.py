"""Which pictures go in, and which file each one becomes."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import FORMATS, PICTURE_EXTENSIONS, format_of

STANDARD = "-"
"""The name for standard input and output."""


@dataclass(frozen=True)
class Job:
    """One picture to make. `name` is its path below the input, with forward slashes: it seeds the picture's noise."""

    name: str
    source: Path
    output: Path


@dataclass(frozen=True)
class Jobs:
    """All pictures to make; `ignored` counts files that are no pictures, `folder` is where the outputs go."""

    jobs: list[Job]
    ignored: int
    folder: Path

    def share(self, shard: tuple[int, int]) -> list[Job]:
        """Return what process i of n does, shard = (i, n): every n-th job, whatever is done already."""
        first, step = shard
        return self.jobs[first::step]


def plan_jobs(
    source: str, output: Path | None, *, recursive: bool = False, format: str | None = None, suffix: str = "out"
) -> Jobs:
    """Resolve input and output.

    A folder becomes a folder, its sub-folders mirrored where `recursive`; a pattern's files go to one folder; a file
    becomes a file, or goes into a folder that exists or whose name has no extension. Without an output, STEM_SUFFIX
    is written beside a file, and FOLDER_out beside a folder. Hidden files are left aside, and those not named like a
    picture; a file that is named alone is taken as it is.

    Outputs keep the input's stem, and its format where that can be written, else png. Where inputs would meet, the
    one that is named like the output keeps its name (else the first), and the others keep their extension too: of
    a.jpg and a.png, made png, a.png stays a.png, and a.jpg becomes a.jpg.png.

    Args:
        source: a file, folder or glob pattern, or STANDARD.
        output: a file or folder, or STANDARD, which is also the default output of STANDARD.
        format: one of FORMATS for all outputs.
        suffix: of a single file's default output.

    Raises:
        UsageError: nothing to do, an unknown format, or an output that would overwrite an input.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format '{format}'", hint=f"choose one of: {', '.join(FORMATS)}")
    path = Path(source)
    if STANDARD in (source, str(output)):
        return _pipe_job(source, output, format)
    if path.is_dir():
        folder = output or _beside(path)
        jobs, ignored = _folder_jobs(path, folder, recursive, format)
    elif path.exists():
        folder, job = _file_job(path, output, format, suffix)
        jobs, ignored = [job], 0
    else:
        folder, jobs, ignored = _pattern_jobs(source, output, format)
    _protect_inputs(jobs)
    return Jobs(jobs, ignored, folder)


def _pipe_job(source: str, output: Path | None, format: str | None) -> Jobs:
    """One picture from standard input, to standard output, or both."""
    path, target = Path(source), output or Path(STANDARD)
    if source != STANDARD and (path.is_dir() or not path.exists()):
        hint = "name one picture, or a folder for the output" if path.is_dir() else "check the path"
        what = "a folder cannot go to standard output" if path.is_dir() else "no such file"
        raise UsageError(f"{source}: {what}", hint=hint)
    if str(target) == STANDARD:
        return Jobs([Job(path.name, path, target)], 0, Path())
    if target.is_dir() or not target.suffix:
        raise UsageError(f"{target}: standard input has no name to be kept", hint="name a file for the output")
    folder, job = _file_job(path, target, format, suffix="")
    return Jobs([job], 0, folder)


def _file_job(path: Path, output: Path | None, format: str | None, suffix: str) -> tuple[Path, Job]:
    target = output or path.with_name(f"{path.stem}_{suffix}.{format or format_of(path) or 'png'}")
    if target.is_dir() or not target.suffix:
        target = target / _renamed(Path(path.name), format)
    wanted = format_of(target)
    if wanted is None:
        raise UsageError(f"{target}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
    if format not in (None, wanted):
        raise UsageError(f"{target} is named {wanted}, and --format says {format}", hint="leave out one of them")
    return target.parent, Job(path.name, path, target)


def _folder_jobs(root: Path, output: Path, recursive: bool, format: str | None) -> tuple[list[Job], int]:
    _see_that_it_is_no_file(output)
    if output.is_dir() and output.samefile(root):
        raise UsageError(
            f"{output}: the outputs would lie among the inputs, or overwrite an input",
            hint="name another folder for the output",
        )
    names, ignored = _split(_walk(root, recursive, leave_out=output))
    if not names:
        deeper = not recursive and bool(_split(_walk(root, True, leave_out=output))[0])
        hint = "add -r to go into its sub-folders" if deeper else "name a folder with pictures in it"
        raise UsageError(f"{root}: no pictures in this folder", hint=hint)
    return _jobs(names, root, output, format), ignored


def _pattern_jobs(pattern: str, output: Path | None, format: str | None) -> tuple[Path, list[Job], int]:
    if not _is_pattern(pattern):
        raise UsageError(f"{pattern}: no such file or folder", hint="check the path; quote patterns such as 'in/*.png'")
    root, rest = _literal_root(pattern)
    folder = output or _beside(root)
    _see_that_it_is_no_file(folder)
    there = folder.resolve()
    outputs = there if there != root.resolve() else None
    files = [root / name for name in glob(rest, root_dir=root, recursive=True)]  # noqa: PTH207
    files = [path for path in files if not path.is_dir() and outputs not in path.resolve().parents]
    names, ignored = _split(path.relative_to(root) for path in files)
    if not names:
        found = f"none of the {ignored} files is a picture" if ignored else "no file fits this pattern"
        raise UsageError(
            f"{pattern}: {found}",
            hint="check the pattern: ** matches folders of any depth, [ab] one character, [[] a bracket",
        )
    return folder, _jobs(names, root, folder, format), ignored


def _literal_root(pattern: str) -> tuple[Path, str]:
    """Split a pattern into the folder before its first special character and the rest.

    A folder that exists under the exact name that is written is taken literally, also one such as "set [1]". The root
    depends on the pattern and on folder names, never on the files found: file names below it seed the noise.
    """
    parts = Path(pattern).parts
    root, place = Path(), 0
    while place < len(parts) - 1 and (not _is_pattern(parts[place]) or (root / parts[place]).is_dir()):
        root, place = root / parts[place], place + 1
    return root, str(Path(*parts[place:]))


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _see_that_it_is_no_file(folder: Path) -> None:
    if folder.is_file() or (format_of(folder) and not folder.is_dir()):
        what = "is a file" if folder.is_file() else "is the name of a file"
        raise UsageError(f"{folder}: {what}, and there may be many outputs", hint="name a folder for the output")


def _walk(root: Path, recursive: bool, *, leave_out: Path) -> Iterator[Path]:
    """Yield the files below a folder, relative to it: no hidden ones, and none from the output's own folder."""
    there = leave_out.resolve()
    for folder, below, files in os.walk(root):
        here = Path(folder)
        yield from (Path(here / file).relative_to(root) for file in files if not file.startswith("."))
        shown = [name for name in below if recursive and not name.startswith(".")]
        below[:] = [name for name in shown if (here / name).resolve() != there]


def _split(names: Iterable[Path]) -> tuple[list[Path], int]:
    """Return the names of pictures, in an order that depends on names alone, and the number of others."""
    listed = sorted(names, key=lambda name: name.parts)
    pictures = [name for name in listed if name.suffix.lower() in PICTURE_EXTENSIONS]
    return pictures, len(listed) - len(pictures)


def _jobs(names: list[Path], root: Path, output: Path, format: str | None) -> list[Job]:
    wanted: dict[str, list[Path]] = defaultdict(list)
    for name in names:
        wanted[_key(_renamed(name, format))].append(name)
    # First those that get the name they want, then the others; compared without case, as some file systems do.
    given: dict[Path, Path] = {}
    for target, rivals in wanted.items():
        owner = next((name for name in rivals if _key(name) == target), rivals[0])
        given[owner] = _renamed(owner, format)
    taken = set(wanted)
    for name in names:
        if name not in given:
            given[name] = next(free for free in _longer(name, format) if _key(free) not in taken)
            taken.add(_key(given[name]))
    return [Job(name.as_posix(), root / name, output / given[name]) for name in names]


def _renamed(name: Path, format: str | None) -> Path:
    if format_of(name) is not None and format in (None, format_of(name)):
        return name
    return name.with_suffix(f".{format or 'png'}")


def _longer(name: Path, format: str | None) -> Iterator[Path]:
    """Yield a.jpg.png, a.jpg.2.png, a.jpg.3.png ... for a.jpg."""
    extension = _renamed(name, format).suffix
    yield name.with_name(f"{name.name}{extension}")
    number = 2
    while True:
        yield name.with_name(f"{name.name}.{number}{extension}")
        number += 1


def _key(name: Path) -> str:
    return name.as_posix().casefold()


def _protect_inputs(jobs: list[Job]) -> None:
    """See that no output is an input, by whatever name or link."""
    sources = {_identity(job.source) for job in jobs} - {None}
    for job in jobs:
        if _identity(job.output) in sources:
            raise UsageError(
                f"{job.output}: the output would overwrite an input", hint="choose another output folder or name"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, None for one that does not exist."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _beside(folder: Path) -> Path:
    """Return the default output of a folder; "." and ".." have no name that could be lengthened."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}_out")
