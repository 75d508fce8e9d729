"""Errors that a user can cause or correct, each with the exit code of the command.

The message states what is wrong and names the file or option; the hint states what to do next.
"""


class DdbmError(Exception):
    """Base of all expected errors.

    Args:
        message: one line, what is wrong.
        hint: one line, what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DdbmError):
    """An option or an argument has a value that cannot be used."""

    exit_code = 2


class ImageError(DdbmError):
    """One image cannot be read or written; it is skipped and reported."""

    exit_code = 3


class ModelError(DdbmError):
    """A model cannot be had: not found, not readable, or not described."""

    exit_code = 4
