"""Serve the page until Ctrl-C; yields what happens."""

import asyncio
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn

from ddbm_cli.foundation.devices import release_threads
from ddbm_cli.foundation.events import Listening
from ddbm_cli.options.draw import DrawOptions
from ddbm_cli.serve.app import create_app
from ddbm_cli.serve.engine import Engine
from ddbm_cli.serve.limits import Limits
from ddbm_cli.serve.offered import loading_all
from ddbm_cli.serve.sockets import is_loopback, url_of
from ddbm_cli.tasks.events import Event, Finished

CONNECTIONS = 512
"""Connections at a time; further ones are refused."""

LAST_SECONDS = 3
"""Time in which answers end after Ctrl-C, in seconds."""


def run(options: DrawOptions, listening: socket.socket, *, browser: bool = True) -> Iterator[Event | Listening]:
    """Load the models and serve until the process is interrupted.

    Args:
        options: what is served. listening: the socket.
        browser: open the page in a browser, where this machine has a screen.

    Raises:
        ModelError: a model is not available.
        UsageError: a model cannot be offered.
    """
    began = time.monotonic()
    models = yield from loading_all(options)
    token = "" if is_loopback(options.host) else secrets.token_urlsafe(24)
    engine = Engine([each.model for each in models])
    url = url_of(options.host, listening)
    page = f"{url}#token={token}" if token else url
    yield Listening(url=page, models=[each.name for each in models], token=token)
    if browser and has_screen():
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
    Server(create_app(models, Limits.of(options), engine, token), engine).serve_until_stopped(listening)
    yield Finished(written=engine.made, kept=0, failed=0, seconds=time.monotonic() - began, word="translated")


class Server(uvicorn.Server):
    """A server that stops its engine with the first signal, and returns in place of raising the signal again.

    Args:
        app: what is served. engine: is started and stopped with the server.
    """

    def __init__(self, app: Any, engine: Engine) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            log_level="critical",
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        super().__init__(config)
        self._engine = engine

    def serve_until_stopped(self, listening: socket.socket) -> None:
        """Serve until Ctrl-C, SIGTERM or `stop`; answers that are not complete by then end with an error."""
        release_threads()
        self._engine.start()
        try:
            asyncio.run(self.serve([listening]))
        finally:
            self._engine.stop()
            self._engine.join(LAST_SECONDS)
            listening.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal does not wait for answers."""
        self.force_exit = self.should_exit
        self.stop()

    def stop(self) -> None:
        """Stop, from any thread."""
        self.should_exit = True
        self._engine.stop()


def has_screen() -> bool:
    """Return whether a browser with a window can be opened; others would take over the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
