"""The two golden networks: the settings and random weights with which the official code was run.

The weights come from a seed. In the order of the parameters, each takes one `torch.randn` of its shape from a
generator with the network's seed: weights of convolutions and linear layers are 0.6 / sqrt(inputs) times it, weights of
norms are 1 + 0.1 times it, biases of norms and of layers that begin as zeros are 0.1 times it. To the other biases 0.1
times it was added; these are stored, because their first values were those of an unseeded network.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ddbm_cli.networks import ADM, ADMConfig

FOLDER = Path(__file__).parent / "golden"

CONFIGS = {
    "e2h-like": ADMConfig(channels=32, multipliers=(1, 2, 3), blocks=1, attention=(2, 4), head_channels=16),
    "diode-like": ADMConfig(channels=32, multipliers=(1, 1, 2, 2), blocks=1, attention=(4, 8), head_channels=16),
}
SEEDS = {"e2h-like": 11, "diode-like": 12}


def golden_network(name: str) -> ADM:
    """Return a golden network with its weights, for evaluation."""
    network = ADM(CONFIGS[name]).eval()
    stored = load_file(FOLDER / f"unet-{name}.biases.safetensors")
    random = torch.Generator().manual_seed(SEEDS[name])
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(drawn * (0.6 / parameter[0].numel() ** 0.5))
            elif key.endswith("weight"):
                parameter.copy_(1 + 0.1 * drawn)
            else:
                parameter.copy_(stored.pop(key, 0.1 * drawn))
    assert not stored
    return network
