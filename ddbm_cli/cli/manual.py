"""`ddbm manual`: the Markdown pages of `ddbm_cli/manual/`, rendered in a terminal and plain elsewhere."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.cli import columns, signature, terminal
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.names import suggest
from ddbm_cli.options.weights import ManualOptions

FOLDER = Path(__file__).parent.parent / "manual"
WIDEST = 100
"""Columns of a page."""


@signature.takes(ManualOptions)
def manual(given: Mapping[str, Any]) -> None:
    """Read the manual.

    Without a topic, the topics are listed. Pages are rendered on a terminal, and plain Markdown elsewhere.

    \b
    Examples:
      ddbm manual
      ddbm manual translate
      ddbm manual samplers > samplers.md
    """
    topic = given.get("topic")
    if topic is None:
        columns.show([("TOPIC", "PAGE"), *((name, title(page)) for name, page in pages().items())], wrapped=1)
        return
    text = find(topic).read_text(encoding="utf-8")
    if terminal.is_terminal(sys.stdout):
        _render(text)
    else:
        for line in text.splitlines():
            terminal.out(line)


def pages() -> dict[str, Path]:
    """Return the pages by topic, sorted, "index" first."""
    found = sorted(FOLDER.glob("*.md"), key=lambda page: (page.stem != "index", page.stem))
    return {page.stem: page for page in found}


def title(page: Path) -> str:
    """Return the first heading of a page."""
    with page.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def find(topic: str) -> Path:
    """Return the page of a topic, or the only one whose name contains it.

    Raises:
        UsageError: there is none, or several.
    """
    known, word = pages(), topic.lower().replace("_", "-").removesuffix(".md")
    if word in known:
        return known[word]
    near = [name for name in known if word in name] if word else []
    if len(near) == 1:
        return known[near[0]]
    choice = f"choose one of: {', '.join(near or known)}"
    raise UsageError(f"no page '{topic}' in the manual", hint=f"{'' if near else suggest(word, known)}{choice}")


def _render(text: str) -> None:
    """Show a page on the terminal, in a pager where it is longer than the screen."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.width = min(console.width, WIDEST)
    page = Markdown(text)
    if len(console.render_lines(page)) < console.height:
        console.print(page)
        return
    os.environ.setdefault("LESS", "-R")  # so that less shows colours
    with console.pager(styles=console.color_system is not None):
        console.print(page)
