"""ECSI's sampler (arXiv:2410.21553): the reverse SDE with noise of strength eta, and two deterministic last steps.

    x += [a. x_T + b. x0 + (c. + e / c) eps] dt + sqrt(2 e |dt|) z,   e = eta g^2 / 2            (1)
    last two steps:   x_s = a_s x_T + b_s x0 + c_s eps                                           (2)

At eta = 1 this is DDBM's SDE, at eta = 0 its ODE. The first state is the source itself: from a drawn state the first
step of (1) would amplify the noise, because c changes fast near the source. Unlike the implicit step, (1) has no upper
limit of the noise of one step.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Sampler, Trajectory
from ddbm_cli.samplers.euler import EulerMaruyama
from ddbm_cli.samplers.implicit import Implicit


@settings
class ECSI(Sampler):
    """One evaluation per step, of weak order 1.

    eta: strength of the noise, a multiple of that of the reverse SDE; 0.3 in the paper for DDBM's VP models, 1 for its
        own models.
    """

    name: ClassVar[str] = "ecsi"
    default_start: ClassVar[str] = "pinned"
    needs_noise: ClassVar[bool] = True

    eta: Annotated[float, Field(ge=0)] = 1.0

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        ending = interval.last or interval.second_last
        if ending or bridge.path.coefficients(interval.t).c == 0:
            return (yield from Implicit().step(bridge, x, interval, history))
        return (yield from EulerMaruyama(noise=self.eta).step(bridge, x, interval, history))
