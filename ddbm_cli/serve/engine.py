"""The network of a server: one thread that samples the rows of all requests, in batches.

A row is one object of one draw of one request, with noise of its own. Rows with equal settings that wait at the same
time are sampled together, but only on models whose results do not depend on the batch; so an image has the same bits
as alone.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.text import one_line
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Noise, NoiseSource
from ddbm_cli.serve.drawings import Drawing
from ddbm_cli.serve.fair import Client, FairQueue
from ddbm_cli.serve.limits import Refused
from ddbm_cli.tasks.recorder import spaced

COLUMNS = 12
"""States of a trajectory that are kept, at most."""


@dataclass(frozen=True)
class Evaluated:
    """A network evaluation of a row is done: its number of all. x0, x: estimate and state, where they are wanted."""

    draw: int
    part: int
    nfe: int
    total: int
    x0: Tensor | None = None
    x: Tensor | None = None


@dataclass(frozen=True)
class Sampled:
    """A row is done."""

    draw: int
    part: int
    result: Tensor


Message = Evaluated | Sampled | DdbmError


class Ticket:
    """One request in the engine.

    Args:
        drawing: what is sampled. client: who sent it.
    """

    def __init__(self, drawing: Drawing, client: Client) -> None:
        self.drawing = drawing
        self.client = client
        self.cancelled = False
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        rows = [Row(self, draw, part) for draw in drawing.asked.draws for part in range(len(drawing.objects))]
        self.rows = tuple(rows)

    async def next(self) -> Evaluated | Sampled:
        """Return what happens next.

        Raises:
            DdbmError: the request failed.
        """
        message = await self._messages.get()
        if isinstance(message, DdbmError):
            raise message
        return message

    def cancel(self) -> None:
        """Give up what is not done; the engine then skips it, or stops it after the current evaluation."""
        self.cancelled = True

    def tell(self, message: Message) -> None:
        """Report from the engine's thread."""
        if not self.cancelled:
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._messages.put_nowait, message)


class Row:
    """One object of one draw of a request."""

    def __init__(self, ticket: Ticket, draw: int, part: int) -> None:
        drawing = ticket.drawing
        self.ticket, self.draw, self.part = ticket, draw, part
        self.source = drawing.objects[part]
        self.name = f"{drawing.maker.noise_name(drawing.loaded.job)}{f'#{part + 1}' if part else ''}"
        first = not part and draw == drawing.asked.draws[0]
        self.kept = frozenset(spaced(drawing.maker.plan.nfe, COLUMNS)) if first else frozenset()

    def alike(self) -> str:
        """Return a text that is equal for rows that one batch can hold."""
        maker = self.ticket.drawing.maker
        settings = maker.settings("png")
        label = maker.conditions.label(self.ticket.drawing.loaded.job)
        decisive = {name: value for name, value in settings.items() if name not in ("seed", "keep_size", "alpha")}
        named = None if label is None else sha256(label.numpy().tobytes())
        return json.dumps([maker.model.name, named, list(self.source.shape), decisive], sort_keys=True, default=str)


class Engine:
    """Samples rows in a thread of its own, from `start` to `stop`.

    Args:
        models: that are tried once at the start, so that the first request is as fast as the others.
    """

    def __init__(self, models: Sequence[TranslationModel] = ()) -> None:
        self.made = 0
        self._models = models
        self._queue: FairQueue[Row] = FairQueue()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current network evaluation; waiting requests fail. Can be called more than once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait until the thread has stopped."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def submit(self, ticket: Ticket) -> int:
        """Add the rows of a request; return how many rows wait before them."""
        with self._changed:
            if self._stopped:
                raise _stopping()
            waiting = len(self._queue)
            for row in ticket.rows:
                self._queue.put(ticket.client, row)
            self._changed.notify_all()
        return waiting

    def _run(self) -> None:
        for model in self._models:
            self._warm_up(model)
        while rows := self._next():
            try:
                self._sample(rows)
            except DdbmError as error:
                _tell_all(rows, error)
            except Exception as error:  # the last line of defence: one request must not end the server
                hint = "use a smaller model or --dtype bf16 if memory ran out; else report this"
                _tell_all(
                    rows, DdbmError(one_line(f"sampling failed: {type(error).__name__}: {error}")[:300], hint=hint)
                )
        with self._changed:
            rest = self._queue.take(lambda row: len(self._queue), lambda row: 0)
        _tell_all(rest, _stopping())

    def _next(self) -> list[Row]:
        """Return the rows of the next batch, [] at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._stopped or len(self._queue))
                if self._stopped:
                    return []
                self._queue.drop(lambda row: row.ticket.cancelled)
                if rows := self._queue.take(lambda row: row.ticket.drawing.offered.batch_size, Row.alike):
                    return rows

    def _sample(self, rows: list[Row]) -> None:
        drawing = rows[0].ticket.drawing
        maker = drawing.maker
        model = maker.conditioned([row.ticket.drawing.loaded for row in rows])
        source = torch.stack([row.source for row in rows])
        calls = maker.method.run(model, source, _noise_of(rows), maker.plan)
        try:
            while True:
                call = next(calls)
                for place, row in enumerate(rows):
                    row.ticket.tell(_evaluated(row, call.nfe, maker.plan.nfe, call.x0[place], call.x[place], model))
                if self._stopped or all(row.ticket.cancelled for row in rows):
                    calls.close()
                    _tell_all(rows, _stopping())  # those that are cancelled get nothing
                    return
        except StopIteration as stop:
            self.made += len(rows)
            for row, result in zip(rows, stop.value, strict=True):
                row.ticket.tell(Sampled(row.draw, row.part, result))

    def _warm_up(self, model: TranslationModel) -> None:
        """Evaluate the network once: the first call is slower, because libraries prepare themselves."""
        own = model.card.preprocess
        with contextlib.suppress(Exception):  # a request reports it
            source = torch.zeros(1, 3, own.height, own.width)
            next(model.translate(source, NoiseSource(0, ["0"]), model.plan()))


def _noise_of(rows: Sequence[Row]) -> Noise:
    """Return the noise of a batch, each row with the seed and the name of its own request."""
    each = [NoiseSource(row.ticket.drawing.maker.request.seed, [row.name], row.draw) for row in rows]
    return lambda like: torch.cat([noise(like[place : place + 1]) for place, noise in enumerate(each)])


def _evaluated(row: Row, nfe: int, total: int, x0: Tensor, x: Tensor, model: TranslationModel) -> Evaluated:
    if not row.ticket.drawing.asked.trajectory or nfe not in row.kept:
        return Evaluated(row.draw, row.part, nfe, total)
    if model.codec.factor != 1:
        return Evaluated(row.draw, row.part, nfe, total, x0=model.codec.decode(x0[None])[0].float().cpu())
    return Evaluated(row.draw, row.part, nfe, total, x0=x0.float().cpu(), x=x.float().cpu())


def _stopping() -> Refused:
    return Refused("the server is stopping", hint="start it again: ddbm draw", status=503)


def _tell_all(rows: Sequence[Row], error: DdbmError) -> None:
    for ticket in dict.fromkeys(row.ticket for row in rows):
        ticket.tell(error)
        ticket.cancel()
