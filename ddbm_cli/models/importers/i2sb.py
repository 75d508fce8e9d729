"""Checkpoints of I2SB (arXiv:2302.05872): an ADM network, with its average as a list without names.

The list holds the averages of the network's parameters, in their order. Its authors sample with the averages.
"""

from collections.abc import Mapping

from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.importers import adm
from ddbm_cli.models.importers.ddbm import Shapes
from ddbm_cli.networks import ADMConfig

NETWORK = "net."
AVERAGES = "ema.shadow_params."


def read(
    tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """As `adm.read`, of the averages."""
    averages = {name: value for name, value in tensors.items() if name.startswith(AVERAGES)}
    if not averages:
        return adm.read(tensors, config, shapes, file=file)
    names = [name for name in tensors if name.startswith(NETWORK)]
    averaged = {name: averages.get(f"{AVERAGES}{index}") for index, name in enumerate(names)}
    found = {name: value for name, value in averaged.items() if value is not None}
    odd = [name for name in names if name not in found or found[name].shape != tensors[name].shape]
    if odd or len(averages) != len(names):
        raise ModelError(
            f"{file}: its averages do not fit its network ({len(averages)} for {len(names)} parameters)",
            hint="download the file again",
        )
    weights, notes = adm.read(found, config, shapes, file=file)
    return weights, [*notes, "imported: the averages (EMA) of the weights"]
