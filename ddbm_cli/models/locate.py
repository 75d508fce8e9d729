"""From what a user writes after -m to a model file on the disk, with the converter of files that have no card."""

from pathlib import Path

from ddbm_cli.registry import Entry
from ddbm_cli.registry import locate as registry
from ddbm_cli.registry.entry import BUILTIN


def builtin_path() -> Path:
    """Return the built-in model's file."""
    return BUILTIN


def locate(reference: str | Path | None) -> Path:
    """Return the model file that a reference names, fetching and converting it if it is not here.

    Raises:
        ModelError: it cannot be had.
        UsageError: a registry file is not readable.
    """
    return registry.finish(locating(reference))


def locating(reference: str | Path | None, *, fetch: bool = True) -> registry.Locating[Path]:
    """Do what `locate` does, and yield what happens on the way.

    Args:
        reference: as a user writes it; None is the built-in model.
        fetch: False to do without the network and conversions: then a model that is not here is an error.
    """
    return registry.locating(reference, convert=_convert if fetch else None)


def _convert(source: Path, output: Path, entry: Entry) -> tuple[str, ...]:
    from ddbm_cli.models.importers import import_file
    from ddbm_cli.models.selfcheck import check_file

    import_file(source, output, entry)
    return check_file(output, entry.fingerprint).faults
