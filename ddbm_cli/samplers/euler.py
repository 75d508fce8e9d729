"""Euler's method on the probability-flow ODE, and Euler-Maruyama on the reverse SDE.

Any strength of noise keeps the marginals (arXiv:2303.08797): `noise` scales g^2 of the reverse SDE, from the ODE at 0
to the time reversal of the reference process at 1. ECSI (arXiv:2410.21553) uses this family.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory
from ddbm_cli.samplers.heun import doob_term


@settings
class Euler(Sampler):
    """Euler's method, order 1, deterministic after the start.

    doob_weight: weight w of Doob's term; 1 is the bridge itself.
    """

    name: ClassVar[str] = "euler"
    default_start: ClassVar[str] = "pinned"

    doob_weight: Annotated[float, Field(ge=0)] = 1.0

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, t = bridge.path, bridge.source, interval.t
        x0 = yield Query(x, t)
        slope = path.velocity(x, x0, source, t) + doob_term(path, x, source, t, self.doob_weight)
        return x + slope * (interval.s - t)


@settings
class EulerMaruyama(Sampler):
    """The Euler-Maruyama method, of weak order 1; the last step adds no noise.

    noise: strength of the noise, a multiple of g^2. doob_weight: as in `euler`.
    """

    name: ClassVar[str] = "euler-maruyama"
    default_start: ClassVar[str] = "pinned"

    noise: Annotated[float, Field(ge=0)] = 1.0
    doob_weight: Annotated[float, Field(ge=0)] = 1.0

    @property
    def stochastic(self) -> bool:
        return self.noise > 0

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, t, s = bridge.path, bridge.source, interval.t, interval.s
        x0 = yield Query(x, t)
        ode, sde = path.velocity(x, x0, source, t), path.reverse_drift(x, x0, source, t)
        drift = ode + self.noise * (sde - ode) + doob_term(path, x, source, t, self.doob_weight)
        x = x + drift * (s - t)
        if interval.last or self.noise == 0:
            return x
        return x + bridge.noise(x) * (self.noise * path.diffusion_squared(t) * (t - s)).sqrt()
