"""What every request must pass before it reaches a route, and the headers of every answer.

Without a token, only addresses of this machine are served: a page of another site could still make a browser send
requests here, so the Host must be this machine's (against DNS rebinding), and Origin and Sec-Fetch-Site must be the
page's own (against cross-site requests). With a token, the Host may be any.
"""

import asyncio
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddbm_cli.foundation.errors import DdbmError, ImageError, UsageError
from ddbm_cli.serve.limits import SEND_SECONDS, Refused
from ddbm_cli.serve.sockets import is_loopback

OPEN = ("/", "/favicon.ico")
"""Paths that hold nothing secret, and need no token."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Checks requests.

    Args:
        app: what they reach. token: required of all requests but those for the page; "" for none.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                message = {**message, "headers": headers.raw}
            await asyncio.wait_for(send(message), SEND_SECONDS)

        if reason := self._reason(Headers(scope=scope), scope["path"]):
            await error_response(reason)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _reason(self, headers: Mapping[str, str], path: str) -> Refused | None:
        """Return why a request is refused, None if it is not."""
        host = headers.get("host", "")
        if not self._token and not is_loopback(_host_name(host)):
            return Refused(
                "the Host header is not an address of this machine",
                hint="open the address that ddbm draw printed",
                status=403,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit_netloc(origin) != host.lower():
            return Refused("a page of another site sent this request", hint="use the page of ddbm draw", status=403)
        if path != "/" and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return Refused("a page of another site sent this request", hint="use the page of ddbm draw", status=403)
        if self._token and path not in OPEN and not self._has_token(headers.get("authorization", "")):
            return Refused(
                "the token is missing or wrong", hint="send the header 'Authorization: Bearer TOKEN'", status=401
            )
        return None

    def _has_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._token.encode())  # in constant time
        return same and scheme.lower() == "bearer"


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def urlsplit_netloc(origin: str) -> str:
    """Return the host and port of an Origin header, "" for "null" and what is none."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def status_of(error: DdbmError) -> int:
    """Return the status of HTTP for an error."""
    if isinstance(error, Refused):
        return error.status
    return 400 if isinstance(error, UsageError) else 422 if isinstance(error, ImageError) else 500


def error_response(error: DdbmError) -> JSONResponse:
    """Return an error as an answer: what is wrong, and what to do."""
    headers = {503: {"Retry-After": "2"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status_of(error), {})
    return JSONResponse(error_body(error), status_code=status_of(error), headers=headers)


def error_body(error: DdbmError) -> dict[str, str]:
    """Return the two lines of an error."""
    return {"what": error.message, "do": error.hint}
