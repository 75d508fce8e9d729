"""Inputs of a model that expects line art: prepared as a request asks, or looked at only."""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import STANDARD, Job
from ddbm_cli.imaging.io import encode_picture, write_atomically
from ddbm_cli.imaging.preparing import LARGER, Expects, Prepared, Steps, large, prepare
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.models import ModelCard
from ddbm_cli.options.prepare import AUTO, NONE, Sketch, read_prepare
from ddbm_cli.options.tiles import OFF
from ddbm_cli.tasks.request import TranslateRequest

STDIN = "stdin.png"


MOST_REMEMBERED = 2**28
"""Bytes of prepared images that several runs on the same inputs keep, at most."""


class Remembered:
    """What became of images, for several runs on the same ones; what exceeds the limit is prepared again."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._free = most
        self._known: dict[Hashable, Prepared] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Hashable, make: Callable[[], Prepared]) -> Prepared:
        """Return what is known by this key, else what `make` returns."""
        known = self._known.get(key)
        if known is not None:
            return known
        made = make()
        size = sum(3 * part.image.width * part.image.height for part in made.parts)
        with self._lock:
            if size <= self._free and key not in self._known:
                self._known[key] = made
                self._free -= size
        return made


class Preparation:
    """Prepares the inputs of one run.

    spec: how, for a record; "none" where nothing is prepared.
    """

    def __init__(self, request: TranslateRequest, card: ModelCard, remembered: Remembered | None = None) -> None:
        """Raises UsageError: options that do not go together."""
        asked = read_prepare(request.prepare)
        self.expects: Expects = card.expects or Expects()
        self._remembered = remembered
        self._size = min(card.preprocess.width, card.preprocess.height)
        self._folder = request.save_prepared
        self._looks = self.expects.kind == "line-art" and card.kind != "prior"
        self._tiled = request.tile != OFF
        fixed = {"--mask": request.mask is not None, "--guide": request.guide is not None, "--tile": self._tiled}
        moves = any(fixed.values())
        if isinstance(asked, Sketch) and moves:
            option = next(name for name, given in fixed.items() if given)
            raise UsageError(
                f"--prepare sketch moves the drawing, and {option} would not fit any more", hint=f"remove {option}"
            )
        if asked == AUTO and (moves or not self._looks):
            asked = NONE
        self._prepares = asked != NONE
        split = request.objects == AUTO
        if isinstance(asked, Sketch):
            width = self.expects.line_width if asked.line_width is None else asked.line_width
            margin = self.expects.margin if asked.margin is None else asked.margin
            self.expects = replace(self.expects, kind="line-art", line_width=width, margin=margin)
            forced = asked.line_width is not None
            self._steps = Steps(asked.page, asked.light, asked.crop, asked.strengthen, split, forced, drawing=True)
        else:
            self._steps = Steps(split=split)
        self.spec = asked.spelled() if isinstance(asked, Sketch) else asked

    def __call__(self, image: Picture, digest: str = "") -> Prepared:
        """Return what becomes of an upright image, RGB or RGBA.

        digest: of its file, by which it is remembered; "" for not.
        """
        if self._tiled or not (self._prepares or self._looks):
            return Prepared()

        def make() -> Prepared:
            return prepare(image, self.expects, self._size, self._steps)

        key = (digest, self.expects, self._size, self._steps)
        found = self._remembered(key, make) if self._remembered and digest else make()
        if self._prepares:
            return found
        wide = (large(image.size, self._size),) if max(image.size) > LARGER * self._size else ()
        return Prepared(findings=(*found.mended, *found.findings, *wide))

    def fact(self) -> str:
        """Return the header's line, "" for none."""
        if not self._prepares:
            return "none" if self._looks else ""
        lines = f"dark lines on white, {self.expects.line_width:g} pixels wide at {self._size}x{self._size}"
        return f"{self.spec} (the model expects {lines}, {self.expects.objects} object)"

    def save(self, job: Job, images: Sequence[Picture], *, overwrite: bool) -> None:
        """Write what a model receives of an image, for --save-prepared; existing files are kept.

        Raises:
            ImageError: a file cannot be written.
        """
        if self._folder is None:
            return
        for number, image in enumerate(images, 1):
            name = job.output.name if job.output.suffix == ".png" else f"{job.output.name}.png"
            name = STDIN if str(job.output) == STANDARD else name
            file = self._folder / Path(job.name).parent / name
            file = file if number == 1 else file.with_name(f"{file.stem}-{number}.png")
            if overwrite or not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, encode_picture(image, "png", text={"ddbm-prepared": self.spec}))
