"""What paths and denoisers keep between steps and batches: the same bits, computed once per time."""

import copy

import pytest
import torch

from ddbm_cli.denoisers import Denoiser, Preconditioned
from ddbm_cli.foundation.settings import describe, spell
from ddbm_cli.paths import PATHS, VPBridge
from ddbm_cli.samplers import Booted, Bridge, Implicit, NoiseSource, Uniform, finish, sample
from ddbm_cli.samplers.remembered import METHODS, remembered


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=spell)
def test_a_path_that_remembers_is_equal_and_has_the_same_bits(path):
    kept = remembered(path)
    assert kept == path and describe(kept) == describe(path) and remembered(copy.copy(path)) is kept
    for t in (torch.tensor(0.3 * path.t_max, dtype=torch.float64), torch.linspace(0.1, 0.9, 5).double() * path.t_max):
        for name in METHODS:
            if path.noise_free and name == "log_snr":
                continue
            for _ in range(2):
                one, other = getattr(kept, name)(t), getattr(path, name)(t)
                pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
                assert all(torch.equal(*pair) for pair in pairs)


def test_coefficients_are_computed_once_for_all_batches(monkeypatch):
    path, calls = VPBridge(beta_d=1.2345), []
    compute = VPBridge.coefficients
    monkeypatch.setattr(VPBridge, "coefficients", lambda self, t: calls.append(t) or compute(self, t))
    times, source = Uniform().times(path, 5), torch.zeros(1, 1, 2, 2)
    counts = []
    for _ in range(2):
        bridge = Bridge(path, source, NoiseSource(0, ["x"]))
        finish(sample(lambda x, t, source: x, bridge, Implicit(), Booted(), times))
        counts.append(len(calls))
    assert counts[1] - counts[0] == 0 < counts[0]


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, time):
        return self.weight * x[:, :1] * time.view(-1, 1, 1, 1)


def test_scalings_are_kept_for_one_time_and_not_for_several():
    denoiser, calls = Denoiser(Twice(), VPBridge(), Preconditioned()), []
    compute = Preconditioned.scalings
    x, source = torch.randn(2, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor(0.4, dtype=torch.float64)
    with torch.inference_mode():
        fresh = denoiser(x, t, source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preconditioned, "scalings", lambda self, path, t: calls.append(t) or compute(self, path, t))
        first, second = denoiser(x, t, source), denoiser(x, t, source)
        assert len(calls) == 1 and torch.equal(first, second) and torch.equal(first, fresh)
        several = denoiser(x, t.expand(2), source)
        assert len(calls) == 2 and torch.equal(first, several)
        denoiser(x.double(), t, source.double())
        assert len(calls) == 3
    first.sum().backward()
    assert denoiser.network.weight.grad is not None
