"""Default grid and start of each sampler on each path.

The grids are those with the smallest error at 10 and 20 evaluations on pairs with exact estimates
(tests/benchmarks/grids.py). VE paths have most of their noise levels at small times and need a grid that is fine
there; on VP paths and tables equal steps in time already are. On tables they end at the estimate: the first row has
visible noise.
"""

from ddbm_cli.denoisers import Prediction
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Sampler, Start
from ddbm_cli.samplers.starts import Booted, Drawn, Pinned, Prior
from ddbm_cli.samplers.times import Karras, LogSNR, TimeGrid, Uniform

START_GAP = 1e-3
"""Fraction of t_max before the source at which grids start that are not the papers' own."""

UNIFORM, LOG_SNR, RHO_7, RHO_3, RHO_1_5 = "uniform", "log-snr", 7.0, 3.0, 1.5
FAR_UNIFORM, FAR_LOG_SNR = "uniform:gap=0.05", "log-snr:gap=0.01"
"""Grids that start farther from the source; their gaps are fractions of t_max."""

GRIDS_OF: dict[str, dict[str, str | float]] = {
    "vp-bridge": {
        "": UNIFORM,
        "heun": RHO_3,
        "multistep": LOG_SNR,
        "multistep:variable=lambda": RHO_3,
        "dbmsolver": RHO_3,
        "booted-heun": FAR_UNIFORM,
        "predictor-corrector": RHO_3,
    },
    "ve-bridge": {
        "": RHO_7,
        "multistep": LOG_SNR,
        "dbmsolver": FAR_LOG_SNR,
        "ecsi": RHO_3,
        "booted-heun": FAR_LOG_SNR,
    },
    "brownian": {
        "": RHO_7,
        "multistep": LOG_SNR,
        "multistep:variable=lambda": RHO_7,
        "ecsi": RHO_3,
        "booted-heun": FAR_UNIFORM,
    },
    "i2sb": {
        "": UNIFORM,
        "heun": LOG_SNR,
        "multistep": LOG_SNR,
        "multistep:variable=lambda": UNIFORM,
        "dbmsolver": FAR_LOG_SNR,
        "booted-heun": FAR_UNIFORM,
        "euler-maruyama": LOG_SNR,
    },
    "rectified": {"": UNIFORM},
    "ve": {"": RHO_7, "implicit": LOG_SNR, "multistep": LOG_SNR, "dbmsolver": LOG_SNR, "ecsi": RHO_3},
    "vp": {"": RHO_3, "multistep": RHO_7, "dbmsolver": LOG_SNR},
    "cosine": {
        "": RHO_1_5,
        "multistep": RHO_3,
        "dbmsolver": LOG_SNR,
        "ecsi": FAR_UNIFORM,
        "euler-maruyama": UNIFORM,
    },
    "ddpm": {"": RHO_3, "multistep": RHO_7},
}
"""Path -> sampler, or sampler with a field -> grid, a number for `Karras` with that rho; "" is every other sampler."""


def default_grid(path: ProbabilityPath, sampler: Sampler) -> TimeGrid:
    """Return the grid of a sampler on a path where the user chooses none; for paths of plug-ins, `Karras(rho=3)`."""
    kinds = GRIDS_OF.get(path.name, {"": RHO_3})
    variable = f"{sampler.name}:variable={getattr(sampler, 'variable', '')}"
    kind = kinds.get(variable, kinds.get(sampler.name, kinds[""]))
    if isinstance(kind, float):
        return Karras(rho=kind)
    if path.noise_free:
        return Uniform(gap=0.0, t_min=0.0)
    name, _, gap = kind.partition(":gap=")
    start, end = float(gap or START_GAP) * path.t_max, 0.0 if path.discrete else None
    return Uniform(gap=start, t_min=end) if name == UNIFORM else LogSNR(gap=start, t_min=end)


def default_start(path: ProbabilityPath, sampler: Sampler, prediction: Prediction | None = None) -> Start:
    """Return the start of a sampler on a path where the user chooses none.

    On a noise-free path the source is the first state, so that one evaluation is enough for one step. A prediction
    that needs the noise of every state gets it from the first one on.
    """
    if path.source_free:
        return Prior()
    if prediction is not None and prediction.needs_noise:
        return Drawn()
    if path.noise_free or sampler.default_start == "pinned":
        return Pinned()
    return Booted()
