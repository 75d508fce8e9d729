"""What the terminal shows of a server."""

from collections.abc import Callable
from typing import Any


def listening(event: Any, fact: Callable[[str, str], None], result: Callable[[object], None]) -> None:
    """Show that a server is ready: its models and its token, and as the result the address of its page."""
    fact("Models", ", ".join(event.models))
    fact("Token", event.token or "none; only this machine can connect")
    fact("Stop", "Ctrl-C")
    result(event.url)
