"""The routes of the server: the page, its models, and POST /translate."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.text import one_line
from ddbm_cli.serve.answers import EVENTS, collected, form_of, happenings, streamed
from ddbm_cli.serve.drawings import read_drawing
from ddbm_cli.serve.engine import Engine, Ticket
from ddbm_cli.serve.fair import Client
from ddbm_cli.serve.guard import Guard, error_response
from ddbm_cli.serve.limits import UPLOAD_SECONDS, Limits, Places, Refused
from ddbm_cli.serve.offered import Models
from ddbm_cli.serve.page import PAGE, POLICY
from ddbm_cli.serve.parameters import read_parameters

THREADS = 2
"""Threads that decode, prepare and encode images."""

LONGEST_CLIENT = 64


def create_app(models: Models, limits: Limits, engine: Engine, token: str = "") -> ASGIApp:
    """Return the application.

    Args:
        models: that are offered. limits: of one request. engine: is started and stopped by the caller.
        token: as of `Guard`.
    """
    server = _Server(models, limits, engine)
    routes = [
        Route("/", server.page, methods=["GET"]),
        Route("/favicon.ico", server.icon, methods=["GET"]),
        Route("/models", server.facts, methods=["GET"]),
        Route("/translate", _Translate(server), methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _http_error}), token)


class _Server:
    """What all routes share."""

    def __init__(self, models: Models, limits: Limits, engine: Engine) -> None:
        self.models, self.limits, self.engine = models, limits, engine
        self.places = Places(limits.requests)
        self.threads = ThreadPoolExecutor(THREADS, "images")

    async def page(self, request: Request) -> Response:
        """The page."""
        return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    async def icon(self, request: Request) -> Response:
        """The page has its icon inside."""
        return Response(status_code=204)

    async def facts(self, request: Request) -> Response:
        """The models and the limits."""
        limits = self.limits
        facts = {"upload": limits.upload, "pixels": limits.pixels, "nfe": limits.nfe, "draws": limits.draws}
        return JSONResponse({"models": [each.facts() for each in self.models], "limits": facts})


class _Translate:
    """POST /translate."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with contextlib.ExitStack() as stack:
            try:
                response = await self._answer(request, stack)
            except DdbmError as error:
                response = error_response(error)
            except ClientDisconnect:
                return
            except Exception as error:  # the last line of defence: a client never meets a traceback
                what = one_line(f"unexpected {type(error).__name__}: {error}")[:300]
                response = error_response(DdbmError(what, hint="report this, with the request"))
            if response:
                await response(scope, receive, send)

    async def _answer(self, request: Request, stack: contextlib.ExitStack) -> Response | None:
        """Return the answer, None where the client has gone. What holds until it is sent is put on the stack."""
        server = self._server
        stack.enter_context(server.places)
        asked = read_parameters(request.query_params.multi_items(), server.limits)
        offered = server.models.find(asked.model)
        form = form_of(request.headers.get("accept", ""), asked.options.number)
        body = await _body(request, server.limits.upload)
        loop = asyncio.get_running_loop()
        drawing = await loop.run_in_executor(server.threads, read_drawing, asked, offered, body, server.limits)
        del body
        ticket = Ticket(drawing, _client(request))
        stack.callback(ticket.cancel)
        events = happenings(ticket, server.engine.submit(ticket), server.threads)
        if form == EVENTS:
            return streamed(events)
        return await _unless_gone(request, asyncio.create_task(collected(events, form)))


async def _unless_gone(request: Request, answer: asyncio.Task[Response]) -> Response | None:
    """Return an answer, None if the client closes the connection before."""
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        for task in (answer, gone):
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, most: int) -> bytes:
    """Return the image that a request sends.

    Raises:
        Refused: it is missing, too large, too slow, or sent as a form.
    """
    too_large = Refused(
        f"the image has more than {most // 2**20} MiB", hint="reduce it, or start with --max-upload", status=413
    )
    if request.headers.get("content-type", "").startswith("multipart/"):
        hint = "send the bytes of the image as the body: curl --data-binary @IMAGE"
        raise Refused("the request is a form", hint=hint, status=415)
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise Refused("the image was not sent in time", hint="send it again", status=408) from None
    if not body:
        raise Refused("the request has no image", hint="send the bytes of an image as the body", status=400)
    return bytes(body)


def _client(request: Request) -> Client:
    """Return who sent a request."""
    name = request.headers.get("x-client", "")
    return Client(request.client.host if request.client else "", name[:LONGEST_CLIENT])


async def _http_error(request: Request, error: Any) -> Response:
    """Return the errors of the framework in our form."""
    known = {
        404: ("there is nothing at this address", "use GET /, GET /models or POST /translate"),
        405: ("this address does not take this method", "use GET /, GET /models or POST /translate"),
    }
    what, hint = known.get(error.status_code, (f"HTTP error {error.status_code}", "check the request"))
    return error_response(Refused(what, hint=hint, status=error.status_code))
