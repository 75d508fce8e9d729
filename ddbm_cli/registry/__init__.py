"""Which models there are, and where their files are: `weights.toml`, references, the hub.

Nothing here imports torch. Listing models imports neither the hub's library nor pydantic, so that it starts fast.
"""

from ddbm_cli.registry.entries import Registry, read_registry
from ddbm_cli.registry.entry import Entry, HubFile
from ddbm_cli.registry.reference import HubRepo, Reference, parse

__all__ = ["Entry", "HubFile", "HubRepo", "Reference", "Registry", "parse", "read_registry"]
