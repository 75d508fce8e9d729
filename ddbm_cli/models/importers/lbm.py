"""Checkpoints of LBM (arXiv:2503.07535): diffusers' U-Net and autoencoder, and a counter of steps, in one file.

    denoiser.<name>           UNet2DConditionModel
    vae.vae_model.<name>      AutoencoderKL
    num_iterations            not used

The U-Net is that of SDXL without its conditions: it is called without text, so that its cross-attention attends to the
image. Files of the training loop have "model." before each name.
"""

from collections.abc import Mapping

from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.assemble import CODEC_PREFIX
from ddbm_cli.models.importers.ddbm import FLOATS, HINT, Shapes
from ddbm_cli.networks import NetworkConfig
from ddbm_cli.networks.diffusers import MODEL

PLACES = {"denoiser.": MODEL, "vae.vae_model.": f"{CODEC_PREFIX}vae."}
"""What begins their names, and ours."""

WRAPPER = "model."
UNUSED = ("num_iterations", "lpips_loss.")


def read(
    tensors: Mapping[str, Tensor], config: NetworkConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """As `ddbm.read`, with the weights of the codec."""
    weights: dict[str, Tensor] = {}
    for name, value in tensors.items():
        name = name.removeprefix(WRAPPER)
        place = next((each for each in PLACES if name.startswith(each)), None)
        if place is not None:
            weights[PLACES[place] + name.removeprefix(place)] = value
        elif not name.startswith(UNUSED):
            weights[name] = value
    found = {name: tuple(value.shape) for name, value in weights.items() if value.dtype in FLOATS}
    if found != shapes:
        odd = sorted(name for name in shapes.keys() | weights.keys() if found.get(name) != shapes.get(name))
        raise ModelError(
            f"{file}: {len(odd)} tensors are not those of LBM, first '{odd[0][:80]}'"
            f" (wanted {shapes.get(odd[0], 'none')}, found {found.get(odd[0], 'none')})",
            hint=HINT,
        )
    return {name: weights[name] for name in shapes}, []
