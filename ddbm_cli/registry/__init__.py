"""Which models there are, and where their files are: `weights.toml`, references, the hub.

Nothing here imports torch, so that listing models starts fast.
"""

from ddbm_cli.registry.entries import Entry, read_registry

__all__ = ["Entry", "read_registry"]
