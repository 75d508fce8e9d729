"""Networks F(input, time). They do not depend on paths."""

from ddbm_cli.networks.adm import ADM, ADMConfig
from ddbm_cli.networks.autoencoder import Autoencoder, AutoencoderConfig
from ddbm_cli.networks.blocks import pack
from ddbm_cli.networks.detect import detect, normalise
from ddbm_cli.networks.diffusers import DiffusersNetwork, DiffusersNetworkConfig
from ddbm_cli.networks.directed import Directed
from ddbm_cli.networks.pix2pix import PatchGAN, Pix2Pix, Pix2PixConfig
from ddbm_cli.networks.unet import UNet, UNetConfig

NetworkConfig = ADMConfig | UNetConfig | Pix2PixConfig | AutoencoderConfig | DiffusersNetworkConfig

NETWORKS: dict[str, type[NetworkConfig]] = {
    each.name: each for each in (ADMConfig, UNetConfig, Pix2PixConfig, AutoencoderConfig, DiffusersNetworkConfig)
}

__all__ = [
    "ADM",
    "NETWORKS",
    "ADMConfig",
    "Autoencoder",
    "AutoencoderConfig",
    "DiffusersNetwork",
    "DiffusersNetworkConfig",
    "Directed",
    "NetworkConfig",
    "PatchGAN",
    "Pix2Pix",
    "Pix2PixConfig",
    "UNet",
    "UNetConfig",
    "detect",
    "normalise",
    "pack",
]
