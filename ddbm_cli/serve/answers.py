"""What POST /translate answers: an image, one JSON document, or a stream of server-sent events."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.serve.drawings import thumbnail
from ddbm_cli.serve.engine import Sampled, Ticket
from ddbm_cli.serve.guard import error_body
from ddbm_cli.serve.limits import Refused

EVENTS, DOCUMENT, IMAGE = "text/event-stream", "application/json", "image/png"

Happening = tuple[str, dict[str, Any]]


def form_of(accept: str, draws: int) -> str:
    """Return the form of an answer, by what a client accepts; by default the image.

    Raises:
        Refused: several images where only one fits.
    """
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    found = next((form for form in (EVENTS, DOCUMENT) if form in wanted), IMAGE)
    if found == IMAGE and draws > 1:
        raise Refused(
            f"{draws} draws do not fit into one image",
            hint=f"send the header 'Accept: {DOCUMENT}' or '{EVENTS}'",
            status=400,
        )
    return found


async def happenings(ticket: Ticket, waiting: int, threads: ThreadPoolExecutor) -> AsyncIterator[Happening]:
    """Yield what happens to a request, by name: queued, progress, image, and at the end done.

    Args:
        waiting: rows before those of the request.
        threads: encode images.

    Raises:
        DdbmError: it fails.
    """
    loop, drawing = asyncio.get_running_loop(), ticket.drawing
    parts = len(drawing.objects)
    yield "queued", {"before": waiting, "notes": drawing.notes, "findings": drawing.findings}
    results: dict[int, dict[int, Any]] = {}
    left = len(ticket.rows)
    while left:
        message = await ticket.next()
        if not isinstance(message, Sampled):
            states = {}
            for name, state in (("x0", message.x0), ("x", message.x)):
                if state is not None:
                    states[name] = await loop.run_in_executor(threads, thumbnail, state)
            counts = {"draw": message.draw, "object": message.part, "nfe": message.nfe, "of": message.total}
            yield "progress", counts | states
            continue
        left -= 1
        done = results.setdefault(message.draw, {})
        done[message.part] = message.result
        if len(done) == parts:
            tensors = [done[part] for part in range(parts)]
            yield "image", await loop.run_in_executor(threads, drawing.finish, message.draw, tensors)
    yield "done", {"model": drawing.offered.name, "nfe": drawing.maker.plan.nfe, "seed": drawing.maker.request.seed}


def streamed(events: AsyncIterator[Happening]) -> Response:
    """Return the answer that streams what happens."""
    return StreamingResponse(_lines(events), media_type=EVENTS, headers={"X-Accel-Buffering": "no"})


async def _lines(events: AsyncIterator[Happening]) -> AsyncIterator[str]:
    try:
        async for name, body in events:
            yield f"event: {name}\ndata: {json.dumps(body)}\n\n"
    except DdbmError as error:
        yield f"event: error\ndata: {json.dumps(error_body(error))}\n\n"


async def collected(events: AsyncIterator[Happening], form: str) -> Response:
    """Return the answer that holds all results at once.

    Raises:
        DdbmError: the request failed.
    """
    images, trajectory = [], []
    facts: dict[str, Any] = {}
    async for name, body in events:
        if name == "image":
            images.append(body)
        elif name == "progress":
            trajectory += [body] if "x0" in body else []
        else:
            facts |= body
    if form == IMAGE:
        name = "".join(
            each if (each.isascii() and each.isalnum()) or each in "-_." else "_" for each in images[0]["name"]
        )
        headers = {"Content-Disposition": f'inline; filename="{name}"'}
        return Response(base64.b64decode(images[0]["image"]), media_type=IMAGE, headers=headers)
    facts.pop("before", None)
    images.sort(key=lambda each: each["draw"])
    return JSONResponse(facts | {"images": images} | ({"trajectory": trajectory} if trajectory else {}))
