"""Which pictures go in, and which file each one becomes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from ddbm_cli.errors import UsageError
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


def plan_jobs(
    source: str, output: Path | None, *, recursive: bool = False, format: str | None = None, suffix: str = "out"
) -> Jobs:
    """Resolve input and output.

    A folder becomes a folder, its sub-folders mirrored where `recursive`; a pattern's files go to one folder; a file
    becomes a file, or goes into a folder that exists or whose name has no extension. Without an output, STEM_SUFFIX
    is written beside a file, and FOLDER_out beside a folder. Outputs keep the input's stem, and its format where that
    can be written; where two inputs would meet, each keeps its extension too: a.jpg and a.png become a.jpg.png and
    a.png.png.

    Args:
        source: a file, folder or glob pattern.
        output: a file or folder.
        format: one of FORMATS for all outputs.
        suffix: of a single file's default output.

    Raises:
        UsageError: nothing to do, an unknown format, or an output that would overwrite an input.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format '{format}'", hint=f"choose one of: {', '.join(FORMATS)}")
    path = Path(source)
    if path.is_dir():
        folder = output or _beside(path)
        jobs, ignored = _folder_jobs(path, folder, recursive, format)
    elif path.is_file():
        target = output or path.with_name(f"{path.stem}_{suffix}.{format or format_of(path) or 'png'}")
        if target.is_dir() or not target.suffix:
            target = target / _renamed(Path(path.name), format)
        elif format_of(target) is None:
            raise UsageError(f"{target}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
        folder, jobs, ignored = target.parent, [Job(path.name, path, target)], 0
    else:
        folder, jobs, ignored = _pattern_jobs(source, output, recursive, format)
    _protect_inputs(jobs)
    return Jobs(jobs, ignored, folder)


def _folder_jobs(root: Path, output: Path, recursive: bool, format: str | None) -> tuple[list[Job], int]:
    if output.is_file():
        raise UsageError(f"{output}: is a file, and {root} a folder", hint="name a folder for the output")
    inside = output.resolve() if output.resolve() != root.resolve() else None
    files = [
        path
        for path in sorted(root.rglob("*") if recursive else root.glob("*"))
        if path.is_file() and not _hidden(path.relative_to(root)) and inside not in path.resolve().parents
    ]
    pictures = [path for path in files if path.suffix.lower() in PICTURE_EXTENSIONS]
    if not pictures:
        deeper = not recursive and next(_pictures_below(root), None) is not None
        hint = "add -r to go into its sub-folders" if deeper else "name a folder with pictures in it"
        raise UsageError(f"{root}: no pictures in this folder", hint=hint)
    return _jobs([path.relative_to(root) for path in pictures], root, output, format), len(files) - len(pictures)


def _pattern_jobs(
    pattern: str, output: Path | None, recursive: bool, format: str | None
) -> tuple[Path, list[Job], int]:
    files = [Path(name) for name in sorted(glob(pattern, recursive=True)) if Path(name).is_file()]  # noqa: PTH207
    if not files:
        what = "no file fits this pattern" if set(pattern) & set("*?[") else "no such file or folder"
        raise UsageError(f"{pattern}: {what}", hint="check the path; quote a pattern so that the shell leaves it")
    pictures = [path for path in files if path.suffix.lower() in PICTURE_EXTENSIONS]
    if not pictures:
        raise UsageError(f"{pattern}: none of the {len(files)} files is a picture", hint="check the pattern")
    root = Path(*_common(pictures))
    folder = output or _beside(root)
    return folder, _jobs([p.relative_to(root) for p in pictures], root, folder, format), len(files) - len(pictures)


def _common(paths: list[Path]) -> tuple[str, ...]:
    parents = [path.parent.parts for path in paths]
    shared: list[str] = []
    for level in zip(*parents, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)


def _jobs(names: list[Path], root: Path, output: Path, format: str | None) -> list[Job]:
    plain = {name: name.with_name(str(_renamed(Path(name.name), format))) for name in names}
    # Compared without case, for file systems that do not tell it apart.
    uses = Counter(str(target).lower() for target in plain.values())
    full = {
        name: target if uses[str(target).lower()] == 1 else target.with_name(f"{name.name}{target.suffix}")
        for name, target in plain.items()
    }
    return [Job(name.as_posix(), root / name, output / full[name]) for name in names]


def _renamed(name: Path, format: str | None) -> Path:
    if format is None and format_of(name) is not None:
        return name
    return name.with_suffix(f".{format or 'png'}")


def _protect_inputs(jobs: list[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.output.resolve() in sources:
            raise UsageError(
                f"{job.output}: the output would overwrite an input", hint="choose another output folder or name"
            )


def _beside(folder: Path) -> Path:
    """Return the default output of a folder; "." and ".." have no name that could be lengthened."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}_out")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _pictures_below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.suffix.lower() in PICTURE_EXTENSIONS)
