"""Predictor-corrector sampling (score-based SDEs, arXiv:2011.13456, Alg. 1).

After each step to a lower noise level, the state takes Langevin steps at that level:

    x <- x + e score(x) + sqrt(2 e) z,     e = 2 (snr |z| / |score|)^2                   (1)

which keep the distribution of the states, and so correct the predictor's error. The predictor is the ancestral step,
`implicit:eta=1`. The norms in (1) are of each image, not means over the batch, so that results do not depend on it.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory
from ddbm_cli.samplers.implicit import Implicit


@settings
class PredictorCorrector(Sampler):
    """1 + `corrections` evaluations per step, but 1 in the last, which is not corrected.

    snr: strength of a correction, r in the paper; 0.16 there for VE on small images, 0.01 for VP.
    corrections: Langevin steps at each noise level.
    """

    name: ClassVar[str] = "predictor-corrector"
    needs_noise: ClassVar[bool] = True

    snr: Annotated[float, Field(gt=0)] = 0.16
    corrections: Annotated[int, Field(ge=0, le=100)] = 1

    @property
    def convergence_order(self) -> float:
        return 0  # the corrections keep an error of the variance of about snr^2

    @property
    def stochastic(self) -> bool:
        return True

    def evaluations(self, path: ProbabilityPath, times: Tensor) -> int:
        steps = len(times) - 1
        return steps + self.corrections * max(0, steps - 1)

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


def _norm(images: Tensor) -> Tensor:
    norms: Tensor = images.flatten(1).norm(dim=1)
    return norms.view(-1, 1, 1, 1)
