"""Whether the hub can be used: its cache, the network, a token."""

from pathlib import Path

from ddbm_cli.registry.deadline import within
from ddbm_cli.registry.hub_errors import explained
from ddbm_cli.registry.library import constants, get_session, get_token

PATIENCE = 4.0
"""Seconds to wait for the hub."""


def hub_cache() -> Path:
    """Return the folder of downloads."""
    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Return whether the user forbids network access (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


def has_token() -> bool:
    """Return whether there is a token for the hub."""
    return bool(get_token())


def reach() -> str:
    """Make a request to the hub, and return its address.

    Raises:
        ModelError: it cannot be reached.
    """
    with explained("the hub", ""):
        within(PATIENCE, lambda: get_session().head(constants.ENDPOINT, timeout=PATIENCE))
    return str(constants.ENDPOINT)
