"""Laws of every registered path, sampler, grid and prediction; each raises AssertionError where it is broken."""

import dataclasses
import typing
from typing import Any, ClassVar

import pytest
import torch

from ddbm_cli.denoisers import Prediction
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.paths.base import differentiate
from ddbm_cli.samplers import Bridge, LogSNR, NoiseSource, Sampler, Start, TimeGrid, default_start, finish, sample
from tests.exact import GaussianPairs


class Given(Start):
    """Begin at a state that the test chooses."""

    name: ClassVar[str] = "given"

    def __init__(self, state: torch.Tensor) -> None:
        object.__setattr__(self, "state", state)

    def begin(self, bridge, t):
        return self.state
        yield


def other_values(kind: type, field: dataclasses.Field) -> list[Any]:
    """Return values of a setting's field other than its default, by its type and bounds."""
    default, hint = field.default, typing.get_type_hints(kind)[field.name]
    choices = [choice for part in (hint, *typing.get_args(hint)) for choice in typing.get_args(part)]
    words = [choice for choice in choices if isinstance(choice, str) and choice != default]
    if words:
        return words
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, tuple):
        return [(0.9, 0.1)]
    if isinstance(default, int):
        return [default + 1] if default % 2 else [default + 1, default * 2]
    return [0.3 if default in (None, 0) else default * 0.5]


def changed(kind: type) -> list[tuple[str, Any]]:
    """Return (field, setting with another value of it) for every field of a setting."""
    found = []
    for field in dataclasses.fields(kind):
        for value in other_values(kind, field):
            try:
                found.append((field.name, kind(**{field.name: value})))
                break
            except ValueError:
                continue
        else:
            raise AssertionError(f"{kind.__name__}.{field.name}: no other value is allowed")
    return found


def variants(registry: dict[str, type]) -> list[Any]:
    """Return every setting of a registry with its defaults and with each field changed."""
    return [each for kind in registry.values() for each in (kind(), *(setting for _, setting in changed(kind)))]


def crossed(paths: list[Any], samplers: list[Any]) -> list[Any]:
    """Return parameters of a test: all pairs. Samplers with a changed field are slow on all paths but the first."""
    return [
        pytest.param(path, sampler, marks=() if path == paths[0] or sampler == type(sampler)() else pytest.mark.slow)
        for path in paths
        for sampler in samplers
    ]


def smooth_paths(*, noise: bool = True) -> list[ProbabilityPath]:
    """Return the registered paths that are formulas, and have noise if that is asked for."""
    made = (kind() for kind in PATHS.values())
    return [path for path in made if not path.discrete and not (noise and path.noise_free)]


def inner_times(path: ProbabilityPath, count: int = 9) -> torch.Tensor:
    return torch.linspace(0.05, 0.95, count, dtype=torch.float64) * path.t_max


def path_is_consistent(path: ProbabilityPath) -> None:
    """The closed forms are the derivatives; noise fits a and b; log-SNR falls; drifts are the reference process's."""
    t = inner_times(path)
    a, b, c = path.coefficients(t)
    for closed, automatic in zip(path.derivatives(t), differentiate(path, t), strict=True):
        assert torch.allclose(closed, automatic, rtol=1e-9, atol=1e-12)
    assert torch.allclose(path.one_minus_a(t), 1 - a, rtol=1e-9, atol=1e-12)
    if path.noise_free:
        return
    assert path.log_snr(t).diff().lt(0).all()
    time_is_inverse_of_log_snr(path)
    if path.source_free:
        assert a.eq(0).all() and path.diffusion_squared(t).gt(0).all()
        return
    assert torch.allclose(path.alpha_T * c**2 / (a * b), torch.full_like(t, path.sigma_T**2), rtol=1e-9)
    x, x0, source = torch.randn(3, 2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for each in t:
        f, g2 = path.drift_rate(each), path.diffusion_squared(each)
        score, h = path.score(x, x0, source, each), path.doob_h(x, source, each)
        velocity, reverse = path.velocity(x, x0, source, each), path.reverse_drift(x, x0, source, each)
        assert torch.allclose(velocity, f * x - g2 * (score / 2 - h), rtol=1e-8, atol=1e-9)
        assert torch.allclose(reverse, f * x - g2 * (score - h), rtol=1e-8, atol=1e-9)


def time_is_inverse_of_log_snr(path: ProbabilityPath) -> None:
    """`time_at` gives the times of log-SNRs, and times of the path for those that it does not reach."""
    t = inner_times(path, 33)
    if path.log_snr(t * (1 + 1e-9)).lt(path.log_snr(t)).all():  # not constant around the rows of a table
        assert torch.allclose(path.time_at(path.log_snr(t)), t, rtol=1e-12)
    found = path.log_snr(path.time_at(path.log_snr(t)))
    assert torch.allclose(found, path.log_snr(t), rtol=1e-9)
    beyond = path.time_at(torch.tensor([1e4, -1e4], dtype=torch.float64))
    assert beyond.isfinite().all() and beyond.ge(0).all() and beyond.le(path.t_max).all()


def sampler_converges(sampler: Sampler, path: ProbabilityPath) -> None:
    """The error on the ODE falls at the sampler's order, for pairs with an exact answer."""
    pairs = GaussianPairs(path)
    source, errors = pairs.sources(1, 1, 4, 4), []
    for steps in (32, 64, 128):
        times = LogSNR(gap=0.2 * path.t_max, t_min=0.1 * path.t_max).times(path, steps)
        mean, std = pairs.marginal(times[0], source)
        state = mean + std * torch.linspace(-1.5, 1.5, 16, dtype=torch.float64).view(1, 1, 4, 4)
        result = finish(sample(pairs.denoise, Bridge(path, source, no_noise), sampler, Given(state), times))
        errors.append(float((result - pairs.flow(state, times[0], times[-1], source)).abs().max()))
    # Over both doublings: errors of two signs may cancel at one number of steps.
    measured = float(torch.tensor(errors).log2().diff().neg().mean())
    assert measured > sampler.convergence_order - 0.35, (errors, measured)


def sampler_has_exact_moments(sampler: Sampler, path: ProbabilityPath) -> None:
    """Mean and variance of the target for a source, closer with more steps, for every amount of noise."""
    pairs, errors = GaussianPairs(path), []
    source = torch.full((1, 1, 250, 250), 0.4, dtype=torch.float64)
    gap = path.t_max - float(noise_level(path, 50.0)) if path.source_free else 1e-3 * path.t_max
    for steps in (12, 96):
        times = LogSNR(gap=gap, t_min=float(noise_level(path, 0.02))).times(path, steps)
        mean, std = pairs.marginal(times[0], source)
        noise = NoiseSource(steps, ["x"])
        begin = mean + std * noise(source)
        result = finish(sample(pairs.denoise, Bridge(path, source, noise), sampler, Given(begin), times))
        mu, variance = pairs.target_given(source)
        assert abs(float((result - mu).mean())) < 0.02 + 0.2 / steps
        errors.append(abs(float(result.var()) / variance - 1))
    # Eight times the steps: an eighth of the error at order 1, 0.35 of it at order 1/2; 0.006 is the draw's own error.
    assert errors[1] < 0.35 * errors[0] + 0.012, errors


def members_are_true(sampler: Sampler, path: ProbabilityPath, grid: TimeGrid, steps: int) -> None:
    """Evaluations are as many as queries; `stochastic` is whether steps draw noise; the result is finite."""
    times, start, drawn = grid.times(path, steps), default_start(path, sampler), []

    def noise(like):
        drawn.append(like)
        return torch.ones_like(like)

    bridge = Bridge(path, torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64), noise)
    events = sample(lambda x, t, source: torch.tanh(x), bridge, sampler, start, times)
    queries, before_steps = 0, None
    while True:
        try:
            next(events)
            queries += 1
            if before_steps is None and queries == start.evaluations + 1:
                before_steps = len(drawn)
        except StopIteration as stop:
            result = stop.value
            break
    assert queries == start.rounds * (start.evaluations + sampler.evaluations(path, times))
    if steps > 2 and path.coefficients(times[0]).c > 0:  # from t_max itself all samplers must draw
        assert (len(drawn) > (before_steps or 0)) == sampler.stochastic
    assert torch.isfinite(result).all()


def prediction_is_right(prediction: Prediction, path: ProbabilityPath) -> None:
    """A perfect network's output gives the target; where moments define it, it is the standardised residual."""
    t = inner_times(path)
    a, b, c = path.coefficients(t)
    skip, across, out, in_, _ = prediction.scalings(path, t)
    meaning = prediction.meaning(path, t)
    if meaning is not None:
        for got, wanted in (
            (skip * a + across + out * meaning.a, 0),
            (skip * b + out * meaning.b, 1),
            (skip * c + out * meaning.c, 0),
        ):
            assert torch.allclose(got, torch.full_like(t, wanted), atol=1e-9)
        return
    square, square_source, cov = prediction.sigma_data**2, prediction.sigma_source**2, prediction.cov
    state = a**2 * square_source + b**2 * square + 2 * a * b * cov + c**2  # E[x_t^2]
    product = b * square + a * cov  # E[x_0 x_t]
    assert torch.allclose(in_**2 * state, torch.ones_like(t))
    assert torch.allclose(product - skip * state, torch.zeros_like(t), atol=1e-12), "uncorrelated with the input"
    assert torch.allclose(square - 2 * skip * product + skip**2 * state, out**2, rtol=1e-9), "of unit variance"


def noise_level(path: ProbabilityPath, sigma: float) -> torch.Tensor:
    """Return the time where c / b is sigma."""
    return path.time_at(-2 * torch.tensor(sigma, dtype=torch.float64).log())


def no_noise(like):
    raise AssertionError("a deterministic sampler drew noise")
