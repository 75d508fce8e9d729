"""Image-to-image translation with diffusion bridges.

The Python interface is `load_model`, `translate`, `sample`, and the paths and samplers; see `api`. Importing this
package does not import torch: names are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ddbm_cli.api import Model, load_model, sample, translate
    from ddbm_cli.foundation.errors import DdbmError, ImageError, ModelError, UsageError
    from ddbm_cli.paths import (
        DDPM,
        VE,
        VP,
        BrownianBridge,
        Cosine,
        I2SBBridge,
        ProbabilityPath,
        RectifiedFlow,
        VEBridge,
        VPBridge,
    )
    from ddbm_cli.samplers import (
        ECSI,
        LBM,
        Booted,
        BootedHeun,
        DBMSolver,
        Drawn,
        Euler,
        EulerMaruyama,
        Evaluation,
        HybridHeun,
        Implicit,
        Karras,
        LogSNR,
        Multistep,
        NoisedStart,
        NoiseSource,
        Pinned,
        Plan,
        PredictorCorrector,
        Prior,
        Sampler,
        Start,
        TimeGrid,
        Timesteps,
        Uniform,
    )

_MODULES = {
    "api": ("Model", "load_model", "sample", "translate"),
    "foundation.errors": ("DdbmError", "ImageError", "ModelError", "UsageError"),
    "paths": (
        *("DDPM", "VE", "VP", "BrownianBridge", "Cosine", "I2SBBridge"),
        *("ProbabilityPath", "RectifiedFlow", "VEBridge", "VPBridge"),
    ),
    "samplers": (
        *("ECSI", "LBM", "BootedHeun", "DBMSolver", "Drawn"),
        *("Booted", "Euler", "EulerMaruyama", "Evaluation", "HybridHeun", "Implicit", "Karras", "LogSNR", "Multistep"),
        *("NoiseSource", "NoisedStart", "Pinned", "Plan", "PredictorCorrector", "Prior", "Sampler", "Start"),
        *("TimeGrid", "Timesteps", "Uniform"),
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DDPM",
    "ECSI",
    "LBM",
    "VE",
    "VP",
    "Booted",
    "BootedHeun",
    "BrownianBridge",
    "Cosine",
    "DBMSolver",
    "DdbmError",
    "Drawn",
    "Euler",
    "EulerMaruyama",
    "Evaluation",
    "HybridHeun",
    "I2SBBridge",
    "ImageError",
    "Implicit",
    "Karras",
    "LogSNR",
    "Model",
    "ModelError",
    "Multistep",
    "NoiseSource",
    "NoisedStart",
    "Pinned",
    "Plan",
    "PredictorCorrector",
    "Prior",
    "ProbabilityPath",
    "RectifiedFlow",
    "Sampler",
    "Start",
    "TimeGrid",
    "Timesteps",
    "Uniform",
    "UsageError",
    "VEBridge",
    "VPBridge",
    "load_model",
    "sample",
    "translate",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ddbm_cli' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"ddbm_cli.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
