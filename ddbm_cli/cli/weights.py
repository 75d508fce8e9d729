"""`ddbm weights`: get, check, import and share models; options in, results out."""

import typer

app = typer.Typer(no_args_is_help=True, help="Get, check, import and share models.")


@app.callback()
def group() -> None:
    """Get, check, import and share models."""
