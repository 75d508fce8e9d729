"""Samplers, time grids and start rules, written once against the path; see `base` for the loop."""

from collections.abc import Mapping
from typing import Any

from ddbm_cli.samplers.auto import AUTO, choose, is_measured
from ddbm_cli.samplers.base import (
    Bridge,
    Evaluation,
    Noise,
    Query,
    Sampler,
    Start,
    count_evaluations,
    finish,
    network_time,
    sample,
    trajectory,
)
from ddbm_cli.samplers.booted_heun import BootedHeun
from ddbm_cli.samplers.corrector import PredictorCorrector
from ddbm_cli.samplers.dbmsolver import DBMSolver
from ddbm_cli.samplers.defaults import default_grid, default_start
from ddbm_cli.samplers.ecsi import ECSI
from ddbm_cli.samplers.encoding import encode, encoding_evaluations
from ddbm_cli.samplers.euler import Euler, EulerMaruyama
from ddbm_cli.samplers.heun import HybridHeun
from ddbm_cli.samplers.implicit import Implicit
from ddbm_cli.samplers.lbm import LBM
from ddbm_cli.samplers.markov import of_process
from ddbm_cli.samplers.multistep import Multistep
from ddbm_cli.samplers.noise import NoiseSource, Slerp
from ddbm_cli.samplers.plan import Plan
from ddbm_cli.samplers.starts import Booted, Drawn, NoisedStart, Pinned, Prior
from ddbm_cli.samplers.times import Karras, LogSNR, TimeGrid, Timesteps, Uniform

SAMPLERS: dict[str, type[Sampler]] = {
    sampler.name: sampler
    for sampler in (
        HybridHeun,
        Implicit,
        Multistep,
        DBMSolver,
        ECSI,
        BootedHeun,
        Euler,
        EulerMaruyama,
        PredictorCorrector,
        LBM,
    )
}
GRIDS: dict[str, type[TimeGrid]] = {grid.name: grid for grid in (Karras, Uniform, LogSNR, Timesteps)}
STARTS: dict[str, type[Start]] = {start.name: start for start in (Pinned, Booted, Drawn, Prior, NoisedStart)}

ALIASES = {
    AUTO: AUTO,
    "ddbm": "heun:churn=0.33",
    "dbim": "implicit",
    "dbim-2": "multistep:order=2",
    "dbim-3": "multistep:order=3",
    "euler-ancestral": "implicit:eta=1",
    "ode": "heun:churn=0",
    "sde": "euler-maruyama",
    "pc": "predictor-corrector",
}
"""Names that people know, and the setting that each one is; `auto` is resolved by the budget."""


def expanded(sampler: str | Mapping[str, Any] | Sampler) -> str | Mapping[str, Any] | Sampler:
    """Replace an alias by its setting; given fields are added to it."""
    if not isinstance(sampler, str):
        return sampler
    name, colon, fields = sampler.partition(":")
    full = ALIASES.get(name, name)
    if not colon:
        return full
    return f"{full},{fields}" if ":" in full else f"{full}:{fields}"


__all__ = [
    "ALIASES",
    "AUTO",
    "ECSI",
    "GRIDS",
    "LBM",
    "SAMPLERS",
    "STARTS",
    "Booted",
    "BootedHeun",
    "Bridge",
    "DBMSolver",
    "Drawn",
    "Euler",
    "EulerMaruyama",
    "Evaluation",
    "HybridHeun",
    "Implicit",
    "Karras",
    "LogSNR",
    "Multistep",
    "Noise",
    "NoiseSource",
    "NoisedStart",
    "Pinned",
    "Plan",
    "PredictorCorrector",
    "Prior",
    "Query",
    "Sampler",
    "Slerp",
    "Start",
    "TimeGrid",
    "Timesteps",
    "Uniform",
    "choose",
    "count_evaluations",
    "default_grid",
    "default_start",
    "encode",
    "encoding_evaluations",
    "expanded",
    "finish",
    "is_measured",
    "network_time",
    "of_process",
    "sample",
    "trajectory",
]
