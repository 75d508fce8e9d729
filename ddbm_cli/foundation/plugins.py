"""Paths, samplers and metrics of other packages, found by their entry points.

A package offers a class under a group in its `pyproject.toml`:

    [project.entry-points."ddbm_cli.samplers"]
    midpoint = "my_package.midpoint:Midpoint"

Installed packages are searched only for a name that no registry of this package holds, so that nothing foreign is
imported unless it is specified by name. The name of the entry point is the name to write after --sampler.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ddbm_cli.foundation.errors import DdbmError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

KINDS = ("paths", "samplers", "metrics")


def exists(kind: str, name: str) -> bool:
    """Return whether an installed package offers this name; nothing of it is imported."""
    return _entry(kind, name) is not None


def find(kind: str, name: str) -> type[Any] | None:
    """Return the class that an installed package offers under this name, None for none.

    Raises:
        UsageError: it cannot be imported, or it is not what it should be.
    """
    entry = _entry(kind, name)
    return None if entry is None else _load(entry, name)


@cache
def _entry(kind: str, name: str) -> "EntryPoint | None":
    if kind not in KINDS:
        return None
    from importlib.metadata import entry_points

    return next(iter(entry_points(group=f"ddbm_cli.{kind}", name=name)), None)


def _load(entry: "EntryPoint", name: str) -> type[Any]:
    package = entry.dist.name if entry.dist else entry.value
    try:
        found: Any = entry.load()
    except DdbmError:
        raise
    except Exception as error:  # a foreign package may raise anything at import
        raise UsageError(
            f"'{name}' of the package {package} cannot be imported ({type(error).__name__}: {error})",
            hint=f"update or remove it: pip uninstall {package}",
        ) from None
    complete = isinstance(found, type) and getattr(found, "name", None) == name
    if not complete or (entry.group != "ddbm_cli.metrics" and not hasattr(found, "__dataclass_fields__")):
        raise UsageError(
            f"'{name}' of the package {package} is not a settings class with name = '{name}'",
            hint=f"update or remove it: pip uninstall {package}",
        )
    return cast(type[Any], found)
