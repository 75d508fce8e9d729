"""Networks F(input, time); they know nothing of paths."""

from ddbm_cli.networks.adm import ADM, ADMConfig
from ddbm_cli.networks.detect import detect, normalise

NETWORKS: dict[str, type[ADMConfig]] = {ADMConfig.name: ADMConfig}

__all__ = ["ADM", "NETWORKS", "ADMConfig", "detect", "normalise"]
