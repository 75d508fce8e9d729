"""Schrödinger bridges by whole trajectories: iterative proportional fitting with mean matching (DSB, arXiv:2106.01357).

The other direction's Euler-Maruyama chain goes from an image x_0 = X_0 to X_K in K equal steps,

    X_{k+1} = F_k(X_k) + g_k z_k,      F_k(x) = x - step r_k(x)                                          (1)

with its drift r, in the first round that of the reference process. A step back from X_{k+1} has the same variance, and
the mean of the paper's regression (its Proposition 3):

    B_k = X_{k+1} + F_k(X_k) - F_k(X_{k+1})                                                              (2)

The direction that is trained makes that step with its own drift, which is an affine function of its estimate of x_0. So
(2) is a target for the estimate, and the denoising loss is the paper's up to the weight of each time.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions, DriftPrediction
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.training.batches import Batch, generator
from ddbm_cli.training.couplings import Couplings
from ddbm_cli.training.first_couplings import Draws
from ddbm_cli.training.sides import A_TO_B, B_TO_A, directions

Move = Callable[[Tensor], tuple[Tensor, float]]
"""A step of a chain: of a state, the mean of the next and the standard deviation of its noise."""


def grid(path: ProbabilityPath, steps: int) -> Tensor:
    """Return the times of a chain of K = `steps` equal steps, rising from 0 to t_max, float64 (K + 1,)."""
    return torch.linspace(0, path.t_max, steps + 1, dtype=torch.float64)


class MeanMatching(Couplings):
    """Batches of states of whole trajectories, with targets of their estimates.

    steps: of a trajectory. The other arguments are those of `Couplings`; the first trajectories are the reference's.
    """

    def __init__(self, *given: Any, steps: int, **more: Any) -> None:
        super().__init__(*given, **more)
        self.steps = steps

    def __getitem__(self, step: int) -> Batch:
        begin, place = self.rounds.begin(step), self.rounds.place(step)
        states, means = self._kept(begin, place)
        path, times = self._simulation.denoiser.path, self._times
        random = generator(self._seed, "bridge", step)
        chosen = torch.randint(self.steps, (self._size,), generator=random)[self.rows]
        row = torch.arange(len(states))
        x, mean = states[row, chosen + 1].double(), means[row, chosen].double()
        t = times[chosen + 1].clamp(path.t_min, path.t_last)
        target, eps = estimate_of(path, x, mean, t, times[chosen])
        conditions = Conditions(directions(len(states)))
        return Batch(target.float(), x.float(), torch.zeros(len(row)), eps.float(), conditions, t)

    @property
    def _times(self) -> Tensor:
        return grid(self._simulation.denoiser.path, self.steps)

    def _is_coupled(self, step: int) -> bool:
        return False

    def _simulated(self, begin: int, place: int) -> tuple[Tensor, Tensor]:
        """Return the states (B, K + 1, ...) of trajectories that begin at images, and (2) of each step (B, K, ...)."""
        images = self.sides[begin + place].target
        states = images.new_empty(len(images), self.steps + 1, *images.shape[1:])
        means = states[:, 1:].clone()
        own = slice(self.rows.start // 2, self.rows.stop // 2)
        for direction in (A_TO_B, B_TO_A):
            draws = Draws(generator(self._seed, "simulation", 1 - direction, begin, place), self._size // 2, own)
            x = images[direction::2]
            states[direction::2, 0] = x
            for number in range(self.steps):
                move = self._reference_step(number) if begin == 0 else self._step(1 - direction, number)
                mean, deviation = move(x)
                x = mean + deviation * draws.normal(x)
                states[direction::2, number + 1] = x
                means[direction::2, number] = x + mean - move(x)[0]
        return states, means

    def _reference_step(self, number: int) -> Move:
        """Return the step of the reference process from the time of an image."""
        path, times = self._simulation.denoiser.path, self._times
        t, length = times[number].clamp(min=path.t_min), times[number + 1] - times[number]
        scale, variance = 1 + path.drift_rate(t) * length, path.diffusion_squared(t) * length
        return lambda x: ((scale * x).to(x), float(variance.sqrt()))

    def _step(self, direction: int, number: int) -> Move:
        """Return the step of a direction, from state `number` to the next, at its own times."""
        path = self._simulation.denoiser.path
        ends = path.mirrored(self._times[number : number + 2])
        t = ends[0].clamp(path.t_min, path.t_last)
        length = ends[0] - ends[1]
        scalings = DriftPrediction().scalings(path, t)
        deviation = float((path.diffusion_squared(t) * length).sqrt())
        estimate = self._simulation.estimate(direction)

        def move(x: Tensor) -> tuple[Tensor, float]:
            with torch.no_grad():
                x0 = estimate(x, t, x)
            drift = (x0 - scalings.skip * x) / scalings.out
            return (x - length * drift).to(x), deviation

        return move


def estimate_of(path: ProbabilityPath, x: Tensor, mean: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Return the estimate of x_0 with which an Euler step from t to s has a mean, and the noise of x given it.

    Args:
        x, mean: state and mean, (B, C, H, W), float64. t, s: times (B,), float64.

    Returns:
        x_0, and eps with x = a x + b x_0 + c eps, so that `training_state` with the source x gives x.
    """
    scalings = DriftPrediction().scalings(path, t)
    skip, out, length = (each.view(-1, 1, 1, 1) for each in (scalings.skip, scalings.out, t - s))
    x0 = skip * x + out * (x - mean) / length
    return x0, path.eps(x, x0, x, t.view(-1, 1, 1, 1))
