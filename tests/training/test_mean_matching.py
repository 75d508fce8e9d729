"""Mean matching (DSB): the target of a step, and what its rounds converge to where the regression is exact."""

import math

import pytest
import torch
from torch import nn

from ddbm_cli.paths import BrownianBridge, VEBridge, VPBridge
from ddbm_cli.training.couplings import Rounds, Simulation
from ddbm_cli.training.first_couplings import Draws, Independent
from ddbm_cli.training.mean_matching import MeanMatching, estimate_of, grid
from ddbm_cli.training.sides import TwoSides
from tests.points import Points, plan_on

PATH = BrownianBridge(variance=0.5)
PATHS = [PATH, VPBridge(), VEBridge(sigma_max=1.0, sigma_min=0.01)]
STEPS = 20


@pytest.mark.parametrize(
    "path", [PATH, VPBridge(), VEBridge(sigma_max=1.0, sigma_min=0.01)], ids=lambda path: path.name
)
def test_a_target_of_mean_matching_is_what_its_step_needs(path):
    """Euler's step with the estimate has the mean, and the batch's state is the one that was given."""
    random = torch.Generator().manual_seed(0)
    x, mean = torch.randn(2, 4, 3, 1, 1, generator=random, dtype=torch.float64)
    t = torch.tensor([0.1, 0.5, 0.9, 1.0], dtype=torch.float64) * path.t_last
    s = t - 0.05 * path.t_max
    x0, eps = estimate_of(path, x, mean, t, s)
    assert torch.allclose(path.training_state(x0, x, eps, t), x, atol=1e-6)
    wide = t.view(-1, 1, 1, 1)
    step = x + path.reverse_drift(x, x0, x, wide) * (s - t).view(-1, 1, 1, 1)
    assert torch.allclose(step, mean, atol=1e-6)


class Affine(nn.Module):
    """An estimate of x_0 that is affine in x, for each direction and each time of a chain."""

    def __init__(self):
        super().__init__()
        self.path, self.times = PATH, grid(PATH, STEPS)[1:].clamp(max=PATH.t_last)
        self.slope, self.shift = (nn.Parameter(torch.zeros(2, STEPS)) for _ in range(2))

    def forward(self, x, time, source, conditions):
        place = int(conditions.label[0]), int((self.times - time.flatten()[0]).abs().argmin())
        return self.slope[place] * x + self.shift[place]

    @torch.no_grad()
    def fit(self, batch):
        """Regress the targets of a batch on its states, by least squares over all rows and dimensions."""
        numbers = (self.times[:, None] - batch.t).abs().argmin(0)
        for direction in range(2):
            for number in range(STEPS):
                rows = (batch.conditions.label == direction) & (numbers == number)
                x, y = batch.source[rows].double(), batch.target[rows].double()
                slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var()
                self.slope[direction, number], self.shift[direction, number] = slope, y.mean() - slope * x.mean()


@pytest.mark.slow
def test_rounds_of_exact_regression_reach_the_closed_form():
    """Between N(0.1, I) and N(-0.1, I) with a reference of variance 1 the covariance is (sqrt(5) - 1) / 2."""
    random = torch.Generator().manual_seed(0)
    sets = [torch.randn(40_000, 16, generator=random) + mean for mean in (-0.1, 0.1)]
    size = 32_000
    sides = TwoSides(*(Points(each, size=size, seed=side) for side, each in enumerate(sets)))
    simulation = Simulation(Affine(), plan_on(PATH, STEPS, equal=True), clip=False)
    rounds = MeanMatching(
        sides, simulation, Independent(), Rounds(1, 1, 1), files=None, size=size, seed=0, steps=STEPS
    )  # fmt: skip
    source = torch.randn(20_000, 16, 1, 1, generator=random) + 0.1
    covariances = []
    for number in range(8):
        fitted = Affine()
        fitted.fit(rounds[number])
        simulation.use(fitted)
        result = simulation(source, 1, Draws(torch.Generator().manual_seed(1), len(source), slice(0, len(source))))
        covariances.append(float(((source - 0.1) * (result - result.mean())).mean()))
    best = (math.sqrt(5) - 1) / 2
    assert abs(covariances[0] - best) > 0.1, "the first round is not yet the answer"
    assert sum(covariances[-4:]) / 4 == pytest.approx(best, abs=0.015)
    assert float(result.var()) == pytest.approx(1, abs=0.06) and float(result.mean()) == pytest.approx(-0.1, abs=0.03)
