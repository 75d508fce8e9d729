"""Images in the terminal: as sixels, by the protocol of kitty, or as half blocks, whichever the terminal can show.

The library textual-image draws. It asks the terminal what it can show, by escape sequences whose answers arrive on
standard input. Where that is not possible (a pipe, a background job), half blocks are used and nothing is asked.
"""

import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddbm_cli.cli import terminal
from ddbm_cli.foundation.errors import ImageError, UsageError

LIBRARY = "textual_image"

LEAST_HALF_BLOCKS, LEAST_GRAPHICS = 24, 12
"""Columns of the terminal that one image takes, at least: as half blocks a column is one pixel."""

SHARE = 0.6
"""Of the terminal's height that images take, at most."""


def check() -> None:
    """Check that the library is installed; it is not imported, because its import asks the terminal.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise UsageError("--preview needs textual-image", hint="pip install 'ddbm-cli[preview]'")


class Preview:
    """Shows images on standard error, above the bars of a command where there are some.

    Args:
        console: rich's console of standard error.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self._console = console or Console(file=terminal.raw(sys.stderr), markup=False, highlight=False)
        self._kind: Any = None
        self._is_half_blocks = True

    @property
    def reason(self) -> str:
        """Why no image can be shown, in words; "" where one can."""
        if not terminal.is_terminal(terminal.raw(sys.stderr)):
            return "standard error is not a terminal"
        if self._console.color_system is None or self._console.no_color:
            return "the terminal shows no colours"
        if not terminal.can_write("\N{UPPER HALF BLOCK}", terminal.raw(sys.stderr)):
            return "the terminal's encoding has no half blocks"
        return ""

    def draw(self, image: Path, console: Any = None, *, sheet: Any = None) -> None:
        """Draw an image, as wide as the terminal where it is not too high then; nothing if it is no longer there.

        Args:
            image: its file.
            console: rich's console of a bar, which the image is drawn above.
            sheet: an event `Sampled`, where the image is a sheet of many: as many of them as fit are drawn.
        """
        from ddbm_cli.imaging.io import opened, read_file

        self._load()
        to = console or self._console
        with contextlib.suppress(ImageError, ValueError):  # ValueError: larger than a protocol allows
            body = self._part(image, sheet, to) if sheet else read_file(image)
            with opened(body) as found:
                ratio = found.width / found.height
            highest = int(2 * SHARE * to.height * ratio)  # a row is twice as high as a column is wide
            with self._asking():
                to.print(self._kind(io.BytesIO(body), width=max(1, min(to.width, highest)), height="auto"))

    def _part(self, image: Path, sheet: Any, to: Any) -> bytes:
        """Return as many groups of a sheet as the terminal shows well."""
        from ddbm_cli.imaging.sheet import part_of_sheet

        least = LEAST_HALF_BLOCKS if self._is_half_blocks else LEAST_GRAPHICS
        across = max(1, to.width // (least * sheet.group))
        rows = to.width / (across * sheet.group) * sheet.height / sheet.width / 2
        size = {"group": sheet.group, "width": sheet.width, "height": sheet.height}
        return part_of_sheet(image, **size, across=across, down=max(1, int(SHARE * to.height / rows)))

    def _load(self) -> None:
        """Import the library, which asks the terminal what it can show."""
        if self._kind is not None:
            return
        with self._asking():
            from textual_image import renderable
            from textual_image._terminal import get_cell_size

            get_cell_size()  # asks the terminal, once
        can_show = _may_ask() and renderable.Image is not renderable.UnicodeImage
        self._kind = renderable.Image if can_show else renderable.HalfcellImage
        self._is_half_blocks = self._kind is renderable.HalfcellImage

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let the library ask the terminal in the block where that is possible, else let it see a file."""
        import logging

        logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # it warns of terminals that do not answer
        if _may_ask():
            yield
            return
        before, sys.__stdout__ = sys.__stdout__, io.StringIO()  # type: ignore[misc, assignment]
        try:
            yield
        finally:
            sys.__stdout__ = before  # type: ignore[misc]


def _may_ask() -> bool:
    """Return whether the terminal can be asked.

    This process reads from it, writes to it and is in the foreground, and it has a size, which some recorders leave 0.
    """
    try:
        if not os.get_terminal_size(1).columns:
            return False
        return all(os.isatty(stream) for stream in (0, 1)) and os.tcgetpgrp(0) == os.getpgrp()
    except (OSError, AttributeError):
        return False
