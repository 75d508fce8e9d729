"""Whether a prediction can be trained and sampled on a path."""

import torch

from ddbm_cli.denoisers.preconditioned import Preconditioned
from ddbm_cli.denoisers.prediction import Prediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import ProbabilityPath

TIMES = 257


def check_prediction(path: ProbabilityPath, prediction: Prediction) -> None:
    """Check a prediction at all times of training and sampling.

    Raises:
        UsageError: a scaling is not finite; the network's output has no weight; or its time input is constant.
    """
    t = torch.linspace(path.t_min, path.t_last, TIMES, dtype=torch.float64)
    scalings = prediction.scalings(path, t)
    which = f"prediction '{prediction.name}' on path '{path.name}'"
    other = "use --prediction x0, or 'preconditioned:c_noise=log-time'"
    if isinstance(prediction, Preconditioned) and abs(prediction.cov) > prediction.sigma_data * prediction.sigma_source:
        raise UsageError(
            f"cov {prediction.cov:g} is larger than sigma_data times sigma_source", hint="pass a smaller cov"
        )
    if not all(torch.isfinite(each).all() for each in (*scalings, prediction.shift(path, t))):
        raise UsageError(f"{which} contains NaN or infinity at some times", hint=other)
    if not scalings.out.abs().gt(0).all():
        raise UsageError(f"{which} does not depend on the network's output", hint=other)
    if len(set(scalings.time.tolist())) < TIMES // 4:
        raise UsageError(f"{which} has a constant time embedding input", hint=other)
