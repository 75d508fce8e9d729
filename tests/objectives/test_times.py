"""The distributions of training times: how often each time is drawn, and that all are times of the path."""

import pytest
import torch

from ddbm_cli.foundation.settings import build
from ddbm_cli.objectives import TIME_DISTRIBUTIONS
from ddbm_cli.paths import BrownianBridge, VPBridge

U = (torch.arange(1000) + 0.5) / 1000
CONTINUOUS = [name for name in TIME_DISTRIBUTIONS if name != "discrete"]


def times(spec, path):
    return build(TIME_DISTRIBUTIONS, spec, what="times").times(path, U)


@pytest.mark.parametrize("path", [BrownianBridge(variance=0.01), VPBridge()])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_part_of_the_times_is_that_of_the_source(name, path):
    """The others have the distribution that there is without it, and the state at the source is the source."""
    plain, some = times(name, path), times(f"{name}:at_source=0.4", path)
    at_source = some == path.at_source
    assert int(at_source.sum()) == 400 and not (plain == path.at_source).any()
    assert torch.allclose(some[:600].quantile(0.3), plain.quantile(0.3), rtol=0.02)
    assert float(some[~at_source].max()) <= path.t_max * (1 - 1e-4)
    source = torch.randn(1, 3, 4, 4)
    state = path.training_state(torch.randn(1, 3, 4, 4), source, torch.randn(1, 3, 4, 4), some[at_source][:1])
    assert torch.allclose(state, source, atol=1e-4)


def test_times_are_uniform_or_of_the_arcsine_law():
    path = BrownianBridge()
    share = lambda name: ((times(name, path) - path.t_min) / (path.t_max * (1 - 1e-4) - path.t_min)).quantile(0.25)  # noqa: E731
    assert float(share("uniform")) == pytest.approx(0.25, abs=1e-3)
    assert float(share("arcsine")) == pytest.approx(0.1464, abs=1e-3)  # sin(pi / 8)^2
