"""`ddbm draw`: options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.options.check import from_options
from ddbm_cli.options.draw import LIMITS, SERVER, DrawOptions
from ddbm_cli.options.groups import PANELS, Brief


@signature.takes(DrawOptions, Brief, panels=(SERVER, *PANELS[:-1], LIMITS, PANELS[-1]))
def draw(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Draw in the browser, and see the result; a server for scripts.

    Needs the extra serve: pip install 'ddbm-cli[serve]'. Ends with Ctrl-C. See: ddbm manual draw

    \b
    Examples:
      ddbm draw
      ddbm draw -m runs/dogs -m runs/cats --port 9000 --no-browser
      ddbm draw --host 0.0.0.0      for a tablet nearby; prints a token
      curl --data-binary @a.png -o b.png "localhost:8765/translate?nfe=8"
    """
    shown = Brief(**printed)
    options = from_options(DrawOptions, given, command="draw")
    early.draw(options)

    from ddbm_cli.serve.sockets import listen

    with listen(options.host, options.port) as listening:
        from ddbm_cli.serve.run import run

        events = run(options, listening, browser=not options.no_browser)
        code = console.render(events, quiet=shown.quiet, json=shown.json, progress=False)
    raise typer.Exit(code)
