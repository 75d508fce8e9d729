"""Paths that keep what they have computed: the steps of a plan ask for the same few numbers, batch after batch.

The numbers of one time are kept, not those of several: sampling is at one time for the whole batch. They are the
same tensors, so results have the same bits.
"""

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor

from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.paths.per_time import PerTime

METHODS = ("coefficients", "derivatives", "one_minus_a", "log_snr", "diffusion_squared")


def remembered(path: ProbabilityPath) -> ProbabilityPath:
    """Return an equal path that computes each of its numbers once per time. The numbers must not be changed in place.

    A path of a plug-in that cannot be hashed is returned as it is.
    """
    try:
        return _remembered(path)
    except TypeError:
        return path


@lru_cache(maxsize=16)
def _remembered(path: ProbabilityPath) -> ProbabilityPath:
    made = copy.copy(path)
    for name in METHODS:
        object.__setattr__(made, name, _kept(getattr(path, name)))
    return made


def _kept(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    values = PerTime()
    return lambda t: values(t, lambda: function(t))
