"""Sets of points as the two sides of a training without pairs: the same coupling, objective and loop as for images."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.settings import build
from ddbm_cli.networks import Directed
from ddbm_cli.objectives import Context, Denoising, UniformTimes
from ddbm_cli.options.recipe import Recipe
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import EulerMaruyama, Karras, Pinned, Plan, Uniform
from ddbm_cli.training import Fit
from ddbm_cli.training.batches import Batch, generator
from ddbm_cli.training.couplings import Couplings, Rounds, Simulation
from ddbm_cli.training.first_couplings import Coupling, Independent
from ddbm_cli.training.mean_matching import MeanMatching
from ddbm_cli.training.pair_files import PairFiles
from ddbm_cli.training.sides import TwoSides


class Points:
    """Points as batches of targets (B, d, 1, 1), drawn at random from a finite set.

    Args:
        points: (N, d), float32.
    """

    def __init__(self, points: Tensor, *, size: int, seed: int) -> None:
        self._points, self._size, self._seed = points[:, :, None, None], size, seed
        self.rows = slice(0, size)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, step: int) -> Batch:
        random = generator(self._seed, "step", step)
        chosen = torch.randint(len(self._points), (self._size,), generator=random)[self.rows]
        target = self._points[chosen]
        u = torch.rand(self._size, generator=random)[self.rows]
        eps = torch.randn((self._size, *target.shape[1:]), generator=random)[self.rows]
        return Batch(target, target, u, eps)

    def from_step(self, step: int) -> Iterator[Batch]:
        return (self[number] for number in count(step))

    def new_failures(self) -> list[Exception]:
        return []


class MLP(nn.Module):
    """F(x, time) of points (B, d, 1, 1): two hidden layers, with SiLU."""

    def __init__(self, dimension: int, *, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dimension + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, dimension)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        found: Tensor = self.layers(torch.cat([x.flatten(1), time.expand(len(x))[:, None]], dim=1))
        return found.view_as(x)


def trained(
    sets: Sequence[Tensor],
    path: ProbabilityPath,
    folder: Path,
    *,
    rounds: Rounds,
    steps: int,
    size: int,
    width: int = 256,
    prediction: str = "preconditioned",
    first: Coupling | None = None,
    simulation_steps: int = 20,
    matching: str = "bridge",
    rate: float = 1e-3,
    seed: int = 0,
) -> Simulation:
    """Train both directions between two sets of points (N, d), and return what simulates with the averaged weights.

    Args:
        size: rows of a batch, half of them for each direction. rate: learning rate, which falls in the last half.
    """
    torch.manual_seed(seed)
    dimension = sets[0].shape[1]
    if prediction == "preconditioned":
        scale = (sum(float(each.square().mean()) for each in sets) / 2) ** 0.5
        ends = f"sigma_data={scale:.4f},sigma_source={scale:.4f}"
        prediction = f"preconditioned:{ends},time_scale=1,c_noise={'log-time' if path.noise_free else 'log-snr'}"
    networks = {name: MLP(dimension, width=width) for name in ("AtoB", "BtoA")}
    denoiser = Denoiser(Directed(networks), path, build(PREDICTIONS, prediction, what="prediction"), sees_source=False)
    kind = partial(MeanMatching, steps=simulation_steps) if matching == "mean" else Couplings
    plan = plan_on(path, simulation_steps, equal=matching == "mean")
    simulation = Simulation(denoiser, plan, clip=False)
    sides = TwoSides(*(Points(each, size=size, seed=seed + side) for side, each in enumerate(sets)))  # type: ignore[arg-type]
    files = PairFiles(folder / "pairs")
    couplings = kind(sides, simulation, first or Independent(), rounds, files=files, size=size, seed=seed)
    recipe = Recipe(
        steps=steps, batch_size=size, learning_rate=rate, lr_decay_fraction=0.5, ema=0.999, save_every=10**9
    )
    loss = Denoising().create(Context(device=torch.device("cpu")))
    fit = Fit(denoiser, couplings, UniformTimes(), recipe, loss=loss, state=folder / "state.safetensors")
    couplings.averages = fit.averages
    for _ in fit.run():
        pass
    simulation.use(fit.averaged)
    return simulation


def plan_on(path: ProbabilityPath, steps: int, *, equal: bool = False) -> Plan:
    """Return the plan of a Schrödinger bridge, that of the card of a new model."""
    grid = Uniform(gap=1e-4, t_min=0.0) if equal else Karras(rho=1.5, gap=1e-4)
    return Plan(path=path, sampler=EulerMaruyama(), grid=grid, start=Pinned(), steps=steps)
