"""The inputs of a comparison as all methods receive them, and their targets."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.comparison import Method
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture, open_picture, read_file, write_atomically
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.imaging.walk import list_images, stem_key
from ddbm_cli.models import TranslationModel
from ddbm_cli.options.prepare import AUTO, NONE, Sketch
from ddbm_cli.tasks.preparing import Preparation, Remembered
from ddbm_cli.tasks.request import request

WHOLE = "one"
"""A comparison has one image for each input, so that the objects of a drawing stay together."""


class Sources:
    """Prepares the inputs of a comparison as its model expects; other methods get the same images.

    remembered: what became of them, for all methods.

    Args:
        spec: the value of --prepare.
        common: options that all methods share.
        claim: returns a folder for prepared images.
    """

    def __init__(self, spec: str, common: Mapping[str, Any], claim: Callable[[], Path]) -> None:
        self._spec = spec
        self._common = common
        self._claim = claim
        self._folder: Path | None = None
        self._reference: str | None = None
        self._preparation: Preparation | None = None
        self._files: dict[Path, Path] = {}
        self.remembered = Remembered()

    def prepare_for(self, model: TranslationModel, reference: str | None) -> None:
        """Prepare inputs as a model expects; the model of the request, before any method runs.

        Args:
            reference: what the request calls it.

        Raises:
            UsageError: no such preparation.
        """
        self._reference = reference
        asked = request(**self._common, prepare=self._spec, objects=WHOLE)
        self._preparation = Preparation(asked, model.card, self.remembered)

    def fact(self) -> str:
        """Return how inputs are prepared, "" where they are not."""
        fact = self._preparation.fact() if self._preparation else ""
        return "" if fact == NONE else fact

    def options(self, method: Method) -> dict[str, str]:
        """Return the options of `translate` by which a method gets the same images as all others.

        Other models, such as a prior, state nothing about drawings, and get the same.
        """
        spec = self._spec
        if spec == AUTO and self.fact() and (method.needs_prior or method.model != self._reference):
            spec = Sketch.name
        return {"prepare": spec, "objects": WHOLE}

    def picture(self, file: Path) -> Picture:
        """Return an input as methods receive it; what was prepared once is kept.

        Raises:
            ImageError: it cannot be read.
        """
        return open_picture(self.file(file))

    def file(self, file: Path) -> Path:
        """Return the file with an input as methods receive it: its own if it is used as it is.

        Raises:
            ImageError: it cannot be read.
        """
        if self._preparation is None or not self.fact():
            return file
        if file not in self._files:
            body = read_file(file)
            parts = self._preparation(open_picture(body, name=str(file)), sha256(body)).parts
            self._files[file] = self._kept(parts[0].image) if parts else file
        return self._files[file]

    def _kept(self, image: Picture) -> Path:
        self._folder = self._folder or self._claim()
        file = self._folder / f"{len(self._files)}.png"
        write_atomically(file, encode_picture(image, "png"))
        return file


def match_targets(jobs: list[Job], targets: Path | None) -> dict[str, Path]:
    """Return the target of each input that has one.

    Raises:
        UsageError: there is no such folder, nothing in it has an input's name, or one file for several inputs.
    """
    if targets is None:
        return {}
    if targets.is_file() and len(jobs) == 1:
        return {jobs[0].name: targets}
    if targets.is_file():
        raise UsageError(f"{targets}: one target for {len(jobs)} inputs", hint="pass a folder of targets")
    if not targets.is_dir():
        raise UsageError(f"{targets}: no such file or folder", hint="pass the folder with the targets")
    found = list_images(targets).stems()
    matched = {job.name: found[key] for job in jobs if (key := stem_key(job.name)) in found}
    if not matched:
        raise UsageError(
            f"{targets}: no target has the name of an input", hint="give an input and its target the same file name"
        )
    return matched
