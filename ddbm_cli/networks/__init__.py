"""Networks F(input, time). They do not depend on paths."""

from ddbm_cli.networks.adm import ADM, ADMConfig
from ddbm_cli.networks.detect import detect, normalise
from ddbm_cli.networks.pix2pix import PatchGAN, Pix2Pix, Pix2PixConfig

NetworkConfig = ADMConfig | Pix2PixConfig

NETWORKS: dict[str, type[NetworkConfig]] = {ADMConfig.name: ADMConfig, Pix2PixConfig.name: Pix2PixConfig}

__all__ = [
    "ADM",
    "NETWORKS",
    "ADMConfig",
    "NetworkConfig",
    "PatchGAN",
    "Pix2Pix",
    "Pix2PixConfig",
    "detect",
    "normalise",
]
