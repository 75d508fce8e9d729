"""The moments of the training data in the card, of pairs that are nearly identical."""

from types import SimpleNamespace

import pytest
import torch

from ddbm_cli.denoisers import Preconditioned
from ddbm_cli.paths import PATHS
from ddbm_cli.tasks.train import card


@pytest.mark.parametrize("difference", [0.0, 1e-6, 1e-3, 0.3])
def test_scalings_of_nearly_identical_pairs_are_finite(difference):
    random = torch.Generator().manual_seed(0)
    target = torch.rand(8, 3, 8, 8, generator=random) * 2 - 1
    source = target + difference * torch.randn(target.shape, generator=random)

    class Pairs(SimpleNamespace):
        def __len__(self):
            return len(target)

    measured = card._measure(Pairs(states=lambda index: (target[index], source[index])))
    exact = float((target.double() * source.double()).mean())
    assert measured["cov"] == pytest.approx(exact, rel=2e-6)
    for path in (kind() for kind in PATHS.values()):
        scalings = Preconditioned(**measured).scalings(path, torch.linspace(path.t_min, path.t_last, 9).double())
        assert all(each.isfinite().all() for each in scalings) and scalings.out.gt(0).all()
