"""Search of the sampler and the times of a budget, without gradients.

The aim is that of LD3 (arXiv:2405.15506): the end of few steps should be the end of many steps with the same noise.
Several samplers on several grids are tried on a quarter of the images, the best of them on all; then one time after the
other moves between its neighbours, as long as that helps. The last time is the one before the estimate.

A search is a coroutine: `distance = yield Trial(...)`, so that its driver can keep the distances, and resume.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Sampler, Start
from ddbm_cli.samplers.booted_heun import BootedHeun
from ddbm_cli.samplers.dbmsolver import DBMSolver
from ddbm_cli.samplers.defaults import default_grid, default_start
from ddbm_cli.samplers.euler import Euler
from ddbm_cli.samplers.heun import HybridHeun
from ddbm_cli.samplers.implicit import Implicit
from ddbm_cli.samplers.multistep import Multistep
from ddbm_cli.samplers.plan import Plan
from ddbm_cli.samplers.starts import Prior
from ddbm_cli.samplers.times import Karras, Timesteps, Uniform

KEPT = 3
"""Settings of the first round that are tried on all images."""

GAPS = (1e-4, 1e-3, 1e-2, 0.05, 0.1)
"""Distances of the first time from the source that are tried, as fractions of t_max."""

ENDS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Last times that are tried, as multiples of the path's t_min."""

NOISY: tuple[Sampler, ...] = (
    *(Implicit(eta=eta) for eta in (0.0, 0.5, 1.0)),
    *(Multistep(order=order, variable=variable) for order in (2, 3) for variable in ("log-snr", "lambda")),
    DBMSolver(),
    BootedHeun(),
)
NOISE_FREE: tuple[Sampler, ...] = (Implicit(), Euler(), HybridHeun(churn=0.0))


@dataclass(frozen=True)
class Setting:
    """A sampler with its times, as falling fractions of t_max; 0 follows the last."""

    sampler: Sampler
    at: tuple[float, ...]

    def plan(self, path: ProbabilityPath, start: Start) -> Plan:
        """Return the plan. A single time is written as two, of which a plan of one step takes the first."""
        at = self.at if len(self.at) > 1 else (self.at[0], self.at[0] / 2)
        return Plan(path=path, sampler=self.sampler, grid=Timesteps(at=at), start=start, steps=len(self.at))

    @property
    def key(self) -> str:
        """A text that is different for different settings."""
        return f"{spell(self.sampler)} {'-'.join(map(str, self.at))}"


@dataclass(frozen=True)
class Trial:
    """A setting to be measured, on a quarter of the images or on all."""

    setting: Setting
    whole: bool


def start_of(path: ProbabilityPath, *, prior: bool) -> Start:
    """Return the start of all settings that are compared."""
    return Prior() if prior else default_start(path, Implicit())


def teacher(path: ProbabilityPath, nfe: int, *, prior: bool) -> Plan:
    """Return the plan of many evaluations whose ends are the aim.

    On the built-in bridge, 50 evaluations of `multistep` are 0.007 from the solution of 500; of `dbmsolver`, 0.045.
    """
    sampler = Implicit() if path.noise_free else Multistep()
    start = start_of(path, prior=prior)
    return Plan(path=path, sampler=sampler, grid=default_grid(path, sampler), start=start, steps=1).within(nfe)


def search(
    path: ProbabilityPath, nfe: int, *, prior: bool, sweeps: int, places: int
) -> Generator[Trial, float, tuple[Setting, float]]:
    """Yield what is to be measured, and return the best setting of at most `nfe` evaluations with its distance.

    Args:
        path: the model's path, or that of `start_of` for a prior.
        nfe: the budget.
        prior: whether images are generated from noise alone.
        sweeps: how often each time is moved, at most.
        places: number of places between its neighbours that are tried for a time.

    Raises:
        UsageError: no sampler has so few evaluations.
    """
    start = start_of(path, prior=prior)
    first = list(dict.fromkeys(_beginnings(path, nfe, start)))
    if not first:
        raise UsageError(f"--nfe {nfe}: no sampler can be tuned for so few evaluations", hint="pass --nfe 2 or more")
    measured = []
    for setting in first:
        measured.append(((yield Trial(setting, whole=False)), setting))
    measured.sort(key=lambda each: each[0])
    best, least = measured[0][1], float("inf")
    for _, setting in measured[:KEPT]:
        distance = yield Trial(setting, whole=True)
        if distance < least:
            best, least = setting, distance
    for _ in range(sweeps):
        before = least
        for place in range(len(best.at)):
            for time in _places(path, best.at, place, places):
                moved = replace(best, at=(*best.at[:place], time, *best.at[place + 1 :]))
                if moved.plan(path, start).nfe > nfe:  # Heun's method leaves out second slopes by the times
                    continue
                distance = yield Trial(moved, whole=True)
                if distance < least:
                    best, least = moved, distance
        if least == before:
            break
    return best, least


def _beginnings(path: ProbabilityPath, nfe: int, start: Start) -> Generator[Setting, None, None]:
    """Yield samplers with the times of common grids, as many as the budget allows."""
    for sampler in NOISE_FREE if path.noise_free else NOISY:
        for grid in (default_grid(path, sampler), Karras(), Karras(rho=3.0), Uniform(gap=1e-3 * path.t_max)):
            try:
                plan = Plan(path=path, sampler=sampler, grid=grid, start=start, steps=1).within(nfe)
                if plan.sampler.name != sampler.name or not start.evaluations < plan.nfe <= nfe:
                    continue
                at = tuple(_rounded(float(t) / path.t_max) for t in plan.times[:-1])
                setting = Setting(plan.sampler, tuple(min(each, 0.9999999) for each in at))
                if setting.plan(path, start).nfe <= nfe:
                    yield setting
            except (UsageError, ValueError):  # the sampler is not for this path, or its times are too close
                continue


def _places(path: ProbabilityPath, at: tuple[float, ...], place: int, places: int) -> list[float]:
    """Return the times that are tried in place of one, between its neighbours."""
    below = at[place + 1] if place + 1 < len(at) else 0.0
    above = at[place - 1] if place else 1.0
    if place == 0:
        found = [1 - gap for gap in GAPS]
    elif below == 0:
        found = [path.t_min / path.t_max * factor for factor in ENDS]
        found += _between(path, above, path.t_min / path.t_max, places)
    else:
        found = _between(path, above, below, places)
    rounded = dict.fromkeys(map(_rounded, found))
    return [time for time in rounded if below < time < above and time != at[place]]


def _between(path: ProbabilityPath, above: float, below: float, places: int) -> list[float]:
    """Return fractions of t_max between two, equally spaced in log(b / c); without noise, in log(t / (1 - t))."""
    ends = torch.tensor([above, below], dtype=torch.float64)
    levels = torch.logit(ends) if path.noise_free else path.log_snr(ends * path.t_max)
    steps = torch.linspace(float(levels[0]), float(levels[1]), places + 2, dtype=torch.float64)[1:-1]
    inner = torch.sigmoid(steps) if path.noise_free else path.time_at(steps) / path.t_max
    return [float(each) for each in inner]


def _rounded(time: float) -> float:
    return float(f"{time:.6g}") if time < 0.9 else round(time, 7)


def trials_at_most(path: ProbabilityPath, nfe: int, *, prior: bool, sweeps: int, places: int) -> int:
    """Return an upper limit of the number of trials of a search."""
    found = list(dict.fromkeys(_beginnings(path, nfe, start_of(path, prior=prior))))
    steps = max((len(setting.at) for setting in found), default=0)
    return len(found) + min(KEPT, len(found)) + sweeps * steps * (places + len(ENDS))
