"""A trained bridge reaches the best one that is possible, where that is known: between Gaussians and mixtures."""

import pytest

from ddbm_cli.paths import PATHS
from ddbm_cli.tasks.train import request, run
from tests.training.optimum import NETWORK, SIZE, draw, excess, gaussians, mixtures, sampling_error, write
from tests.training.test_scale import ended, launched

RECIPE = {"batch_size": 8, "learning_rate": 2e-3, "ema": 0.99, "warmup": 20}


def trained(root, kind, *, images, steps, processes=None):
    """Train, through the command where a number of processes is asked for; return the model."""
    write(root / "pairs", draw(kind(PATHS["vp-bridge"]()), images, seed=0))
    recipe = RECIPE | {"steps": steps, "save_every": steps, "validate_every": steps}
    body = {"data": [root / "pairs"], "output": root / "run", "size": SIZE, "network": NETWORK, "augment": ("flip",)}
    if processes is None:
        list(run(request(body | {"recipe": recipe, "device": "cpu"})))
    else:
        numbers = {"--" + name.replace("_", "-"): value for name, value in recipe.items()}
        more = [text for pair in numbers.items() for text in pair]
        options = ["--size", SIZE, "--network", NETWORK, "--augment", "flip", *more]
        ended(launched(root, "pairs", "-o", "run", *options, count=processes), timeout=1800)
    return root / "run" / "model.safetensors"


def test_a_bridge_between_gaussians_comes_near_the_optimum_in_seconds(tmp_path):
    """Shifts would bring in paper, which the distribution does not have."""
    assert excess(trained(tmp_path, gaussians, images=100, steps=80), gaussians) < 0.15


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("kind", "steps", "most", "furthest"), [(gaussians, 600, 0.02, 0.05), (mixtures, 1200, 0.05, 0.05)]
)
def test_a_bridge_reaches_the_optimum_in_minutes(tmp_path, capsys, kind, steps, most, furthest, processes):
    """The loss is at most 2 % (mixtures: 5 %) above the smallest possible one, and so are the results."""
    file = trained(tmp_path, kind, images=1000, steps=steps, processes=processes)
    found, distance = excess(file, kind), sampling_error(tmp_path / "new", file, kind)
    with capsys.disabled():
        print(f"\n{kind.__name__}, {processes} processes: excess {found:.4f}, distance {distance:.4f}")  # noqa: T201
    assert found < most and distance < furthest
