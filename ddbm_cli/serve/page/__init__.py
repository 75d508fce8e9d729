"""The page: one HTML file with its style and its scripts inside, and the policy that allows nothing else."""

import base64
from pathlib import Path

from ddbm_cli.foundation.hashing import sha256

FOLDER = Path(__file__).parent
SCRIPTS = ("canvas.js", "server.js", "page.js")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return how a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(bytes.fromhex(sha256(text.encode()))).decode()}'"


_SCRIPT = "".join(map(_read, SCRIPTS))
_STYLE = _read("page.css")

PAGE = _read("page.html").replace("/* style */", _STYLE).replace("/* script */", _SCRIPT).encode()

POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_source(_SCRIPT)}",
        f"style-src {_source(_STYLE)}",
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
