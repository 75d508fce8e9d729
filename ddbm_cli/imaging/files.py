"""Which images are read, and which file each one becomes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import FORMATS, format_of
from ddbm_cli.imaging.naming import Naming, check_format, name_outputs
from ddbm_cli.imaging.selection import Selection
from ddbm_cli.imaging.walk import NOT_ENTERED, OWN, Problem, Skipped, identity, left_out, list_images

STANDARD = "-"
"""The name for standard input and output."""


@dataclass(frozen=True)
class Job:
    """One image to make. `name` is its path below the input, with forward slashes: with `draw` it seeds the noise."""

    name: str
    source: Path
    output: Path
    draw: int = 0


@dataclass(frozen=True)
class Jobs:
    """All images to make.

    folder: where the outputs go. skipped: entries of the input that are no inputs, counted by reason; its text is for
    the header. problems: inputs that cannot be reached, to be reported as failures. links: linked folders followed.
    several: the input is a folder or a pattern.
    """

    jobs: list[Job]
    folder: Path
    skipped: Skipped = field(default_factory=Skipped)
    problems: tuple[Problem, ...] = ()
    links: int = 0
    several: bool = False

    def share(self, shard: tuple[int, int]) -> list[Job]:
        """Return what process i of n does, shard = (i, n): every n-th job, finished or not."""
        first, step = shard
        return self.jobs[first::step]


def plan_jobs(
    source: str,
    output: Path | None,
    *,
    recursive: bool = False,
    format: str | None = None,
    suffix: str = "out",
    to_folder: bool = False,
    exclude: Sequence[Path] = (),
    naming: Naming | None = None,
    selection: Selection | None = None,
    may_be_empty: bool = False,
) -> Jobs:
    """Resolve input and output.

    A folder becomes a folder, its sub-folders mirrored where `recursive`; a pattern's files go to one folder; a file
    becomes a file, or goes into a folder that exists or whose name has no extension. Without an output, STEM_SUFFIX
    is written next to a file, and FOLDER_out next to a folder. Folders are searched as `imaging.walk` describes.

    Outputs keep the input's stem, and its format where that can be written, else png. Where two outputs would have
    one name, the input that is named like the output keeps it (else the first), and the others keep their extension
    too: of a.jpg and a.png, made png, a.png stays a.png, and a.jpg becomes a.jpg.png.

    Args:
        source: a file, folder or glob pattern, or STANDARD.
        output: a file or folder, or STANDARD, which is also the default output of STANDARD.
        format: one of FORMATS for all outputs.
        suffix: of a single file's default output.
        to_folder: the output is a folder, even if its name has an extension; set for a path that ends in a slash.
        exclude: further outputs of the command, which are never inputs.
        naming: templates of outputs' names, and draws. selection: which images of a folder or pattern are processed;
            the names of their outputs are those that they have without it.
        may_be_empty: a folder without images is no error.

    Raises:
        UsageError: nothing to do, an unknown format, or an output that would overwrite an input.
    """
    naming = naming or Naming()
    naming.check()
    check_format(format)
    path = Path(source)
    if STANDARD in (source, str(output)):
        _check_one(naming, str(output or STANDARD))
        return _pipe_job(source, output, format, to_folder)
    if path.is_dir():
        jobs = _folder_jobs(path, output or _next_to(path), recursive, format, to_folder, exclude, naming, may_be_empty)
    elif path.exists() or path.is_symlink():
        jobs = _file_job(path, output, format, suffix, to_folder, naming)
    else:
        jobs = _pattern_jobs(source, output, format, to_folder, exclude, naming)
    if selection and jobs.several:
        jobs = replace(jobs, jobs=selection.apply(jobs.jobs, jobs.skipped))
        if not jobs.jobs and not may_be_empty:
            raise UsageError(f"{source}: no image is left; left out: {jobs.skipped}", hint="check the patterns")
    _protect_inputs(jobs.jobs)
    return jobs


def _pipe_job(source: str, output: Path | None, format: str | None, to_folder: bool) -> Jobs:
    """One image from standard input, to standard output, or both."""
    path, target = Path(source), output or Path(STANDARD)
    if source != STANDARD and (path.is_dir() or not path.exists()):
        hint = "pass one image, or a folder for the output" if path.is_dir() else "check the path"
        what = "a folder cannot be written to standard output" if path.is_dir() else "no such file"
        raise UsageError(f"{source}: {what}", hint=hint)
    if str(target) == STANDARD:
        return Jobs([Job(path.name, path, target)], Path())
    if to_folder or target.is_dir() or not target.suffix:
        raise UsageError(f"{target}: an image from standard input has no name", hint="pass a file for the output")
    return _file_job(path, target, format, suffix="", to_folder=False, naming=Naming())


def _check_one(naming: Naming, output: str) -> None:
    """Check that all is written to one file."""
    if naming.template is not None or len(naming.draws) > 1:
        what = "--name" if naming.template is not None else "several draws"
        raise UsageError(f"{output}: one file, but {what} needs a folder", hint="pass a folder for the output")


def _file_job(
    path: Path, output: Path | None, format: str | None, suffix: str, to_folder: bool, naming: Naming
) -> Jobs:
    target = output or path.with_name(f"{path.stem}_{suffix}.{format or format_of(path) or 'png'}")
    if output is None and (naming.template is not None or len(naming.draws) > 1):
        return Jobs(_jobs([Path(path.name)], path.parent, path.parent, format, naming), path.parent)
    if to_folder or target.is_dir() or not target.suffix:
        if to_folder and target.is_file():
            raise UsageError(f"{target}: not a folder", hint="leave out the slash, or choose another output")
        return Jobs(_jobs([Path(path.name)], path.parent, target, format, naming), target)
    _check_one(naming, str(target))
    wanted = format_of(target)
    if wanted is None:
        raise UsageError(f"{target}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
    if format not in (None, wanted):
        raise UsageError(f"{target} has the extension of {wanted}, but --format is {format}", hint="leave out one")
    return Jobs([Job(path.name, path, target, naming.draws[0])], target.parent)


def _folder_jobs(
    root: Path,
    output: Path,
    recursive: bool,
    format: str | None,
    to_folder: bool,
    exclude: Sequence[Path],
    naming: Naming,
    may_be_empty: bool,
) -> Jobs:
    _check_folder(output, to_folder)
    if output.is_dir() and output.samefile(root):
        raise UsageError(
            f"{output}: the outputs would be written among the inputs, or overwrite an input",
            hint="choose another folder for the output",
        )
    found = list_images(root, recursive=recursive, exclude=(output, *exclude))
    if not found.names and found.problems and not may_be_empty:
        raise UsageError(found.problems[0].message, hint=found.problems[0].hint)
    if not found.names and not may_be_empty:
        deeper = found.skipped.counts[NOT_ENTERED] and list_images(root, exclude=(output, *exclude)).names
        hint = "add -r to search its sub-folders" if deeper else "pass a folder with images in it"
        left = f"; left out: {found.skipped}" if found.skipped else ""
        raise UsageError(f"{root}: no images in this folder{left}", hint=hint)
    jobs = _jobs(found.names, root, output, format, naming)
    return Jobs(jobs, output, found.skipped, found.problems, found.links, several=True)


def _pattern_jobs(
    pattern: str, output: Path | None, format: str | None, to_folder: bool, exclude: Sequence[Path], naming: Naming
) -> Jobs:
    if not _is_pattern(pattern):
        raise UsageError(f"{pattern}: no such file or folder", hint="check the path; quote patterns such as 'in/*.png'")
    root, rest = _literal_root(pattern)
    folder = output or _next_to(root)
    _check_folder(folder, to_folder)
    own = {identity(path) for path in (folder, *exclude)} - {None, identity(root)}
    skipped, names = Skipped(), []
    for path in (root / name for name in glob(rest, root_dir=root, recursive=True)):  # noqa: PTH207
        if path.is_dir():
            continue
        mine = own and any(identity(place) in own for place in (path, *path.resolve().parents))
        reason = OWN if mine else left_out(path)
        if reason:
            skipped.add(reason, path)
        else:
            names.append(path.relative_to(root))
    if not names:
        what = f"no image matches; left out: {skipped}" if skipped else "no file matches this pattern"
        hint = "check the pattern: ** matches folders of any depth, [ab] one character, [[] a bracket"
        raise UsageError(f"{pattern}: {what}", hint=hint)
    closed = list_images(root, exclude=(folder, *exclude)).closed if "**" in Path(rest).parts else ()
    names.sort(key=lambda name: name.parts)
    return Jobs(_jobs(names, root, folder, format, naming), folder, skipped, closed, several=True)


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


def _check_folder(folder: Path, to_folder: bool) -> None:
    """Check that several outputs can go to a path."""
    if folder.is_file() or (format_of(folder) and not folder.is_dir() and not to_folder):
        what = "is a file" if folder.is_file() else "is the name of a file"
        raise UsageError(f"{folder}: {what}, but there may be several outputs", hint="pass a folder for the output")


def _jobs(names: Sequence[Path], root: Path, output: Path, format: str | None, naming: Naming) -> list[Job]:
    named = name_outputs(names, naming, format)
    return [Job(each.name.as_posix(), root / each.name, output / each.output, each.draw) for each in named]


def _protect_inputs(jobs: Iterable[Job]) -> None:
    """Check that no output is an input, also under another name or through a link."""
    jobs = list(jobs)
    sources = {identity(job.source) for job in jobs} - {None}
    for job in jobs:
        if identity(job.output) in sources:
            raise UsageError(
                f"{job.output}: the output would overwrite an input", hint="choose another output folder or name"
            )


def _next_to(folder: Path) -> Path:
    """Return the default output of a folder; "." and ".." have no name to derive it from."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}_out")
