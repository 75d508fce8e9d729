"""The laws of `tests.laws` over the registries, and three wrong plug-ins that they must find."""

from typing import ClassVar

import pytest
import torch

from ddbm_cli.denoisers import PREDICTIONS, Preconditioned, check_prediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings, spell
from ddbm_cli.paths import PATHS, VPBridge
from ddbm_cli.samplers import GRIDS, SAMPLERS, STARTS, Bridge, Euler, Uniform, default_grid
from tests import laws

SAMPLER_VARIANTS = laws.variants(SAMPLERS)
DETERMINISTIC = [sampler for sampler in SAMPLER_VARIANTS if not sampler.stochastic]
STOCHASTIC = [sampler for sampler in SAMPLER_VARIANTS if sampler.stochastic and sampler.convergence_order]
PLAIN = {"doob_weight", "churn_doob_weight"}
"""Fields that change the distribution itself, so that it has no exact answer here."""


def is_plain(sampler):
    return all(getattr(sampler, field, 1.0) in (1.0, None) for field in PLAIN)


@pytest.mark.parametrize("path", laws.smooth_paths(noise=False), ids=spell)
def test_paths_are_consistent(path):
    laws.path_is_consistent(path)


@pytest.mark.parametrize("path", [each for each in laws.variants(PATHS) if not each.noise_free], ids=spell)
def test_times_are_found_by_their_log_snr(path):
    laws.time_is_inverse_of_log_snr(path)


@pytest.mark.parametrize(
    ("path", "sampler"), laws.crossed(laws.smooth_paths(), list(filter(is_plain, DETERMINISTIC))), ids=spell
)
def test_deterministic_samplers_converge_at_their_order(path, sampler):
    laws.sampler_converges(sampler, path)


@pytest.mark.parametrize(
    ("path", "sampler"), laws.crossed(laws.smooth_paths(), list(filter(is_plain, STOCHASTIC))), ids=spell
)
def test_stochastic_samplers_have_the_exact_moments(path, sampler):
    laws.sampler_has_exact_moments(sampler, path)


@pytest.mark.parametrize(("path", "sampler"), laws.crossed(laws.variants(PATHS), SAMPLER_VARIANTS), ids=spell)
def test_members_of_samplers_are_true(path, sampler):
    if path.noise_free and sampler.needs_noise:
        pytest.skip("refused by plans")
    for grid in (default_grid(path, sampler), *(kind() for kind in GRIDS.values())):
        for steps in (1, 2, 7):
            laws.members_are_true(sampler.planned(), path, grid, steps)


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=spell)
@pytest.mark.parametrize("prediction", laws.variants(PREDICTIONS), ids=spell)
def test_predictions_are_right_or_refused(path, prediction):
    try:
        check_prediction(path, prediction)
    except UsageError:
        return
    laws.prediction_is_right(prediction, path)


@settings
class TwiceTheStep(Euler):
    name: ClassVar[str] = "twice-the-step"

    def step(self, bridge, x, interval, history):
        end = yield from super().step(bridge, x, interval, history)
        return x + 2 * (end - x)


@settings
class WrongNoise(VPBridge):
    name: ClassVar[str] = "wrong-noise"

    def coefficients(self, t):
        a, b, c = super().coefficients(t)
        return type(super().coefficients(t))(a, b, c * (1 + t / 10))


@settings
class WrongSkip(Preconditioned):
    name: ClassVar[str] = "wrong-skip"

    def scalings(self, path, t):
        right = super().scalings(path, t)
        return right._replace(skip=1.05 * right.skip)


def test_a_sampler_with_twice_the_step_is_found():
    laws.sampler_converges(Euler(), VPBridge())
    with pytest.raises(AssertionError):
        laws.sampler_converges(TwiceTheStep(), VPBridge())


def test_a_path_with_wrong_noise_is_found():
    with pytest.raises(AssertionError):
        laws.path_is_consistent(WrongNoise())


def test_a_prediction_with_a_wrong_skip_is_found():
    laws.prediction_is_right(Preconditioned(), VPBridge())
    with pytest.raises(AssertionError):
        laws.prediction_is_right(WrongSkip(), VPBridge())


@pytest.mark.parametrize(
    ("name", "field", "changed"),
    [(kind.name, *each) for kind in SAMPLERS.values() for each in laws.changed(kind)],
)
def test_every_field_of_a_sampler_changes_the_result(name, field, changed):
    path, results = VPBridge(), []
    source = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 4, 4)
    # The second slope is left out only where c / b falls far in one step; `end` is that of a step to 0.
    grids = {"min_ratio": Uniform(gap=1e-3).times(path, 2), "end": Uniform(gap=0.01, t_min=0.0).times(path, 4)}
    times = grids.get(field, Uniform(gap=0.01).times(path, 4))
    for sampler in (SAMPLERS[name](), changed):
        bridge = Bridge(path, source, laws.NoiseSource(0, ["x"]))
        events = laws.sample(lambda x, t, s: torch.tanh(x + s), bridge, sampler, STARTS["booted"](), times)
        results.append(laws.finish(events))
    assert not torch.allclose(*results)


@pytest.mark.parametrize(
    ("name", "field", "changed"),
    [(kind.name, *each) for kind in GRIDS.values() for each in laws.changed(kind)],
)
def test_every_field_of_a_grid_changes_the_times(name, field, changed):
    assert not torch.equal(GRIDS[name]().times(VPBridge(), 6), changed.times(VPBridge(), 6))


@pytest.mark.parametrize("path", laws.variants(PATHS), ids=spell)
@pytest.mark.parametrize("grid", laws.variants(GRIDS), ids=spell)
def test_grids_fall_from_source_to_target(path, grid):
    for steps in (1, 2, 17):
        times = grid.times(path, steps)
        assert len(times) == steps + 1 and times.dtype == torch.float64 and torch.isfinite(times).all()
        assert times.diff().le(0).all() and times[0] <= path.t_max and times[-1] >= 0
        assert path.discrete or times.diff().lt(0).all()


@pytest.mark.parametrize("path", laws.variants(PATHS), ids=spell)
def test_the_default_end_of_tables_is_the_estimate(path):
    """Where the last state would have visible noise, samplers with one evaluation per step return the last estimate."""
    visible = not path.noise_free and float(path.coefficients(torch.zeros((), dtype=torch.float64)).c) > 1e-3
    for sampler in (kind() for kind in SAMPLERS.values()):
        if path.noise_free and sampler.needs_noise:
            continue
        times = default_grid(path, sampler).times(path, 5)
        assert times[-1] == 0 or not (path.discrete or path.ends_at_estimate)
        if visible and sampler.name in ("implicit", "multistep"):
            estimates = []
            bridge = Bridge(path, torch.full((1, 1, 2, 2), 0.3, dtype=torch.float64), torch.ones_like)
            events = laws.sample(
                lambda x, t, s: estimates.append(torch.tanh(x)) or estimates[-1],  # noqa: B023
                bridge, sampler, STARTS["booted"](), times,
            )  # fmt: skip
            assert torch.equal(laws.finish(events), estimates[-1])


@pytest.mark.parametrize("path", laws.variants(PATHS), ids=spell)
@pytest.mark.parametrize("start", laws.variants(STARTS), ids=spell)
def test_starts_are_finite_and_take_their_evaluations(path, start):
    times = default_grid(start.path(path), SAMPLERS["implicit"]()).times(path, 4)
    bridge = Bridge(path, torch.full((1, 1, 2, 2), 0.3, dtype=torch.float64), torch.ones_like)
    sampler, queries = SAMPLERS["implicit"](), []
    events = laws.sample(lambda x, t, s: queries.append(t) or torch.tanh(x), bridge, sampler, start, times)
    assert torch.isfinite(laws.finish(events)).all()
    assert len(queries) == start.rounds * (start.evaluations + 4)
    assert start.path(path).source_free or path.noise_free or all(t < path.t_max for t in queries)
