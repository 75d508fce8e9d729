"""What one request may cost, and the errors of a server that has no room."""

from dataclasses import dataclass

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.options.draw import DrawOptions

UPLOAD_SECONDS = 60.0
"""Time to send an image, in seconds."""

SEND_SECONDS = 60.0
"""Time in which a client must read a part of an answer, in seconds."""


class Refused(DdbmError):
    """A request that is not carried out.

    status: of HTTP.
    """

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may cost.

    upload: bytes. pixels: of an image. nfe: network evaluations per image. draws: images of one request.
    requests: that are worked on or wait.
    """

    upload: int
    pixels: int
    nfe: int
    draws: int
    requests: int

    @classmethod
    def of(cls, options: DrawOptions) -> "Limits":
        """Return the limits that the options of the command set."""
        return cls(
            upload=options.max_upload * 2**20,
            pixels=options.max_pixels * 10**6,
            nfe=options.max_nfe,
            draws=options.max_draws,
            requests=options.max_requests,
        )


class Places:
    """Counts requests. Used by one thread, that of the server."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = 0

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            Refused: there is none left.
        """
        if self._taken >= self._number:
            raise Refused(
                f"the server is working on {self._number} requests and takes no more",
                hint="try again later",
                status=503,
            )
        self._taken += 1

    def __exit__(self, *error: object) -> None:
        self._taken -= 1
