"""Files of the trajectory of each image: the states of sampling x_t, and the estimates of x_0."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.alpha import on_paper
from ddbm_cli.imaging.animation import encode_gif
from ddbm_cli.imaging.files import STANDARD, Job, Jobs
from ddbm_cli.imaging.io import encode_picture, read_text, write_atomically
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.imaging.sheet import Picture, contact_sheet
from ddbm_cli.options.extras import ExtraOptions
from ddbm_cli.tasks.recorder import Frames, spaced
from ddbm_cli.tasks.records import TEXT_KEY

COLUMNS = 12
"""Columns of a strip, at most."""

FRAME_MILLISECONDS, LAST_MILLISECONDS = 120, 1500

STEP_FILE = re.compile(r"\d{3,}-(state|estimate)\.png")


class TrajectoryFiles:
    """The files of the trajectories of a run.

    Args:
        options: which.
        outputs: all outputs of the run, so that no file gets the name of one, nor of another's.
        folder: the output folder.
    """

    def __init__(self, options: ExtraOptions, outputs: Sequence[Path], folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._beside = Beside(outputs)

    def of(self, output: Path) -> Iterator[Path]:
        """Yield the files of an output; for --steps-dir the one that is written last."""
        if self._options.gif:
            yield self._beside(output, "-steps.gif")
        if self._options.strip:
            yield self._beside(output, "-strip.png")
        if self._options.steps_dir is not None:
            yield self._steps(output) / "000-state.png"

    def of_all(self, jobs: Iterable[Job]) -> Iterator[Path]:
        """Yield the files of all jobs."""
        for job in jobs:
            yield from self.of(job.output)

    def missing(self, job: Job) -> bool:
        """Return whether a file of an image is missing."""
        return not all(file.exists() for file in self.of(job.output))

    def write(
        self, output: Path, frames: Frames, compose: Callable[[Sequence[Tensor]], Picture], last: Picture
    ) -> None:
        """Write the files of an image.

        Args:
            frames: its trajectories. compose: makes an image of the tensors (3, H, W) in -1..1 of its objects.
            last: the result.

        Raises:
            ImageError: a file cannot be written.
        """
        states, estimates = (
            [compose([_values(each[side]) for each in step]) for step in zip(*frames, strict=True)] for side in (1, 2)
        )
        numbers = [frame.number for frame in frames[0]]
        if self._options.gif:
            shown = [*states, on_paper(last)]
            comment = json.dumps(mark("gif"))
            body = encode_gif(shown, milliseconds=FRAME_MILLISECONDS, last=LAST_MILLISECONDS, comment=comment)
            write_atomically(self._beside(output, "-steps.gif"), body)
        if self._options.strip:
            places = [number - 1 for number in spaced(len(numbers), COLUMNS)]
            rows = [to_tensor(side[place]) for side in (states, estimates) for place in places]
            strip = contact_sheet([torch.stack(rows)], columns=len(places))
            write_atomically(self._beside(output, "-strip.png"), encode_picture(strip, "png", text=mark("strip")))
        if self._options.steps_dir is not None:
            self._write_steps(self._steps(output), numbers, {"state": states, "estimate": estimates})

    def _write_steps(self, folder: Path, numbers: Sequence[int], sides: dict[str, list[Picture]]) -> None:
        """Write the steps of one image; the first one last, because it marks a complete folder."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            earlier = {file for file in folder.iterdir() if STEP_FILE.fullmatch(file.name) and is_ours(file)}
        except OSError as error:
            raise ImageError(f"{folder}: cannot be written ({error.strerror})", hint="check --steps-dir") from None
        named = {
            folder / f"{number:03d}-{side}.png": picture
            for side, pictures in sides.items()
            for number, picture in zip(numbers, pictures, strict=True)
        }
        for file in earlier - set(named):
            file.unlink(missing_ok=True)
        for file, picture in reversed(named.items()):
            write_atomically(file, encode_picture(picture, "png", text=mark("step")))

    def _steps(self, output: Path) -> Path:
        assert self._options.steps_dir is not None
        below = output.parent.relative_to(self._folder) if output.is_relative_to(self._folder) else Path()
        return self._options.steps_dir / below / self._beside(output, "").name


def trajectory_files(options: ExtraOptions, jobs: Jobs) -> TrajectoryFiles | None:
    """Return the files of trajectories that are asked for, None for none.

    Raises:
        UsageError: the output is standard output.
    """
    if not options.follows:
        return None
    if str(jobs.jobs[0].output) == STANDARD:
        flag = "--gif" if options.gif else "--strip" if options.strip else "--steps-dir"
        raise UsageError(f"{flag} needs an output that is a file", hint="pass a file or a folder as the output")
    return TrajectoryFiles(options, [job.output for job in jobs.jobs], jobs.folder)


class Beside:
    """Names of files next to outputs, so that none has the name of an output, or of another's file.

    Of a.png the file is a-strip.png; if there is also an output a.jpg, or one named a-strip.png, it is a.png-strip.png.

    Args:
        outputs: all outputs of a run.
    """

    def __init__(self, outputs: Sequence[Path]) -> None:
        self._outputs = {_key(output) for output in outputs}
        stems: dict[str, set[str]] = {}
        for output in outputs:
            stems.setdefault(_key(output.with_suffix("")), set()).add(_key(output))
        self._shared = {stem for stem, files in stems.items() if len(files) > 1}

    def __call__(self, output: Path, ending: str) -> Path:
        """Return the file of an output that ends in `ending`, such as "-strip.png"."""
        stem = output.with_suffix("")
        found = output.with_name(f"{stem.name}{ending}")
        while _key(stem) in self._shared or _key(found) in self._outputs:
            if stem == output:
                return output.with_name(f"{output.name}.{output.suffix[1:]}{ending}")
            stem = output
            found = output.with_name(f"{output.name}{ending}")
        return found


def check_replaceable(files: Sequence[Path], *, overwrite: bool) -> None:
    """Check that no file is replaced that this program did not write.

    Raises:
        UsageError: there is one.
    """
    foreign = [] if overwrite else [file for file in files if file.exists() and not is_ours(file)]
    if foreign:
        raise not_ours(foreign[0])


def not_ours(file: Path) -> UsageError:
    """Return the error of a file that this program did not write."""
    return UsageError(f"{file}: exists, and was not written by ddbm", hint="choose another name, or add --overwrite")


def is_ours(file: Path) -> bool:
    """Return whether an image was written by this program."""
    return TEXT_KEY in read_text(file)


def mark(what: str) -> dict[str, str]:
    """Return the text by which a file is recognised as one of this program."""
    return {TEXT_KEY: json.dumps({what: True})}


def _values(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def _key(path: Path) -> str:
    return str(path).casefold()
