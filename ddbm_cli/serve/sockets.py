"""The socket of the server, opened before any model is loaded."""

import errno
import importlib.util
import ipaddress
import os
import socket

from ddbm_cli.foundation.errors import UsageError

LIBRARIES = ("starlette", "uvicorn")
BACKLOG = 256


def check_installed() -> None:
    """Check that the libraries of the server are installed; they are not imported.

    Raises:
        UsageError: one is not.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ddbm draw needs {' and '.join(missing)}", hint="pip install 'ddbm-cli[serve]'")


def is_loopback(host: str) -> bool:
    """Return whether an address or name is this machine's own, which no other machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: a name or an address. port: 0 for a free one.

    Raises:
        UsageError: the port is taken or needs permissions, or the address is not one of this machine.
    """
    name = host.strip("[]")
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(
            f"--host {host}: no such address", hint="pass 127.0.0.1, or an address of this machine"
        ) from None
    # "localhost" may be both ::1 and 127.0.0.1; browsers try either, other programs often 127.0.0.1 alone.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere this would share the port with another program
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise _explained(host, port, error) from None
    return made


def url_of(host: str, listening: socket.socket) -> str:
    """Return the address of the page, for a browser on this machine."""
    port = listening.getsockname()[1]
    name = host.strip("[]")
    if name in ("0.0.0.0", "::", ""):
        name = "127.0.0.1" if listening.family == socket.AF_INET else "::1"
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def _explained(host: str, port: int, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} of {host} is in use by another program",
            hint="pass another --port, or --port 0 for a free one",
        )
    if error.errno == errno.EACCES:
        return UsageError(f"no permission to listen on port {port}", hint="pass a --port of 1024 or more")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"--host {host}: not an address of this machine", hint="pass 127.0.0.1, or 0.0.0.0 for all addresses"
        )
    return UsageError(f"cannot listen on {host} port {port} ({error.strerror})", hint="pass another --host or --port")
