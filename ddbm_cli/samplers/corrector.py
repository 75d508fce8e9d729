"""Predictor-corrector sampling (score-based SDEs, arXiv:2011.13456, Alg. 1).

After each step to a lower noise, the state is moved along the score, and shaken, at that noise (Langevin dynamics):

    x <- x + e score(x) + sqrt(2 e) z,     e = 2 (snr |z| / |score|)^2                   (1)

which leaves the law of the states as it is, and so mends what the predictor did wrong. The predictor is the ancestral
step, `implicit:eta=1`. The norms in (1) are of each picture alone, not means of a batch: neighbours do not count.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory
from ddbm_cli.samplers.implicit import Implicit


@settings
class PredictorCorrector(Sampler):
    """1 + `corrections` evaluations a step, but 1 in the last one, which is not corrected.

    snr: strength of a correction, r in the paper; 0.16 there for VE on small pictures, 0.01 for VP.
    corrections: Langevin steps at each noise level.
    """

    name: ClassVar[str] = "predictor-corrector"
    home_grid: ClassVar[str] = "karras"

    snr: Annotated[float, Field(gt=0)] = 0.16
    corrections: Annotated[int, Field(ge=0, le=100)] = 1

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, s = bridge.path, bridge.source, interval.s
        x = yield from Implicit(eta=1.0).step(bridge, x, interval, history)
        for _ in range(0 if interval.last else self.corrections):
            x0 = yield Query(x, s)
            score, noise = path.score(x, x0, source, s), bridge.noise(x)
            ratio = _norm(noise) / _norm(score).clamp(min=1e-12)
            size = 2 * (self.snr * ratio) ** 2
            x = x + size * score + (2 * size).sqrt() * noise
        return x


def _norm(pictures: Tensor) -> Tensor:
    norms: Tensor = pictures.flatten(1).norm(dim=1)
    return norms.view(-1, 1, 1, 1)
