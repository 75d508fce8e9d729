"""What stands between this machine and the hub: its cache, the network, a token."""

from pathlib import Path

from huggingface_hub import constants, get_session, get_token

from ddbm_cli.registry.hub_errors import explained

PATIENCE = 4.0
"""Seconds to wait for the hub."""


def hub_cache() -> Path:
    """Return the folder of downloads."""
    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Return whether the user forbids to ask the hub (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


def has_token() -> bool:
    """Return whether the hub will know who asks."""
    return bool(get_token())


def reach() -> str:
    """Ask the hub for anything, and return its address.

    Raises:
        ModelError: it is out of reach.
    """
    with explained("the hub", ""):
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    return str(constants.ENDPOINT)
