"""The card of a model to be trained: its settings, measured on the data where they are not given, and its sampling."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import torch

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, describe
from ddbm_cli.imaging.degrade import is_inpainting
from ddbm_cli.imaging.preparing import Expects, measure
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import ModelCard
from ddbm_cli.models.card import DIRECTIONS, Defaults
from ddbm_cli.networks import NETWORKS
from ddbm_cli.objectives import OBJECTIVES, signal_left
from ddbm_cli.options.expects import LineArt, Photograph, read_expects
from ddbm_cli.options.train import Sampling, TrainRequest
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.samplers import (
    AUTO,
    GRIDS,
    SAMPLERS,
    Booted,
    Drawn,
    Euler,
    EulerMaruyama,
    HybridHeun,
    Implicit,
    Karras,
    Pinned,
    Plan,
    Prior,
    Sampler,
    TimeGrid,
    Uniform,
    choose,
    default_grid,
    default_start,
    is_measured,
)
from ddbm_cli.tasks.train.labels import Labels
from ddbm_cli.tasks.train.trainable import check_markov, check_trainable
from ddbm_cli.training import Batches
from ddbm_cli.training.sides import TwoSides

MEASURED_PAIRS, MEASURED_SOURCES = 512, 64
MIN_SIGMA = 1e-4
MAX_CORRELATION = 1 - 1e-6
"""Bounds of the measured moments, in full precision; they matter for blank and for identical images."""
MAX_SIGNAL_LEFT = 0.1
"""Largest signal-to-noise ratio at the source of an unconditional bridge, which sampling begins without."""

STUDENT_GAP = 0.03
"""Fraction of t_max before the source at which a student gets its noise by default."""

BUDGET, BUDGET_FROM_NOISE = 10, 35
"""Network evaluations of a new model's default sampling: of bridges, and of models that begin at noise."""


def card_of(
    request: TrainRequest,
    batches: Batches | TwoSides,
    labels: Labels,
    *,
    folder: Path,
    codec: Codec | None = None,
    codec_setting: dict[str, Any] | None = None,
) -> ModelCard:
    """Return the card of a model to be trained.

    Args:
        request: what to train.
        batches: the training data, which sigmas are measured on.
        labels: its classes or texts.
        codec, codec_setting: what makes states of images, and as the card states it; None for pixels.
        folder: the run's folder, which the model is named after where no name is given.

    Raises:
        UsageError: settings that do not fit each other.
    """
    path = build(PATHS, request.path, what="path")
    if request.is_prior:
        _check_prior(path)
    config = build(NETWORKS, request.network, what="network")
    network = describe(config)
    if codec is not None and codec.factor > 1:
        if build(OBJECTIVES, request.objective, what="objective").clips:
            raise UsageError(
                f"--objective {request.objective} needs a model of pixels",
                hint="leave out clip=true: the model's states have no limits",
            )
        network |= {"in_channels": 2 * codec.channels, "out_channels": codec.channels}
    sees_source = request.sees_source and not request.is_prior and not request.is_unpaired
    at_once = config.at_once
    if request.is_unpaired:
        _check_unpaired(path, network, at_once=at_once)
    if not sees_source and not request.is_prior and (path.source_free or at_once):
        raise UsageError("with --blind this network would get nothing of the source", hint="leave out --blind")
    if not set(labels.network) <= set(network):
        what, option = ("texts", "--text") if labels.takes_text else ("classes", "--classes")
        raise UsageError(f"network '{network['name']}' takes no {what}", hint=f"leave out {option}")
    if request.drop and not labels.network and not sees_source:
        raise UsageError("the model has no condition to drop", hint="leave out --drop")
    usual = _usual(request, path, at_once=at_once)
    by_itself = request.sampling.sampler in (None, AUTO) and request.sampling.grid is None
    adapts = by_itself and _adapts(request, usual, at_once=at_once)
    card = ModelCard(
        name=request.name or folder.absolute().name or "model",
        task=request.translates,
        network=network
        | ({} if sees_source else {"in_channels": network["out_channels"]})
        | ({"in_channels": network["in_channels"] + request.noise_channels} if request.noise_channels else {})
        | labels.network
        | ({"classes": len(DIRECTIONS)} if request.is_unpaired and request.networks == "one" else {}),
        path=describe(path),
        prediction=_prediction(request, path, batches),
        preprocess=Preprocess(size=request.size, fit=request.fit or "pad"),
        expects=_expects(request, batches),
        kind="prior" if request.is_prior else "bridge",
        codec=codec_setting or {"name": "pixels"},
        clip=codec is None or codec.factor == 1,  # latents have no bounds
        concat_source=sees_source,
        noise_channels=request.noise_channels,
        inpainting=is_inpainting(request.source),
        class_names=labels.classes,
        text_conditional=labels.takes_text,
        vocabulary=labels.vocabulary,
        text_encoder=labels.features.facts if labels.features else None,
        directions=DIRECTIONS if request.is_unpaired else (),
        networks=DIRECTIONS if request.is_unpaired and request.networks == "two" else (),
        condition_dropout=request.drop,
        defaults=_defaults(request.sampling, usual, automatic=adapts),
        keep_sampler=not adapts,
        markov=request.is_unpaired,
        licence=request.licence,
        data=request.data_note,
        limits=request.limits,
    )
    check_trainable(card, times=request.times, timeless=at_once)
    if request.is_unpaired:
        check_markov(card)
    return card


def _adapts(request: TrainRequest, usual: Plan, *, at_once: bool) -> bool:
    """Return whether the sampler that `auto` chooses suits a model."""
    own = request.noise_channels or request.is_distilled or request.is_unpaired or at_once
    return not own and is_measured(usual.path)


def _usual(request: TrainRequest, path: ProbabilityPath, *, at_once: bool) -> Plan:
    """Return the default sampling of a model on a path.

    Args:
        at_once: one evaluation gives the result.
    """
    if request.noise_channels:
        return Plan(
            path=path,
            sampler=Implicit(eta=1.0),
            grid=Uniform(gap=1e-4 * path.t_max, t_min=0.0),
            start=Pinned(),
            steps=1,
        )
    if request.is_distilled and not path.noise_free:
        near = Uniform(gap=STUDENT_GAP * path.t_max, t_min=0.0)
        return Plan(path=path, sampler=Implicit(eta=1.0), grid=near, start=Booted(), steps=1)
    if at_once:
        return Plan(path=path, sampler=Implicit(eta=0.0), grid=Karras(rho=7.0, gap=0.0), start=Pinned(), steps=1)
    from_noise = request.is_prior or path.source_free
    prediction = build(PREDICTIONS, request.prediction or "", what="prediction")
    sampler: Sampler = Implicit(eta=0.0)
    if request.is_unpaired and not path.noise_free:
        return _markov_chain(path, steps=request.simulation_steps, equal=request.matching == "mean")
    if from_noise:
        # Doob's weight 1/2 makes the ODE of a bridge from noise that of its reference process.
        weight = 1.0 if path.source_free else 0.5
        sampler = Euler() if path.noise_free else HybridHeun(churn=0.0, doob_weight=weight)
    grid = default_grid(path, sampler)
    start = Prior() if from_noise else default_start(path, sampler, prediction)
    plan = Plan(path=path, sampler=sampler, grid=grid, start=start, steps=1)
    return plan.within(BUDGET_FROM_NOISE if from_noise else BUDGET)


def _markov_chain(path: ProbabilityPath, *, steps: int, equal: bool) -> Plan:
    """Return the sampling of a model that is a Markov process, whose steps do not depend on the source.

    Between Gaussian sets with exact estimates, 20 steps of Euler-Maruyama on this grid keep variances within 8 %; the
    implicit step, which takes the estimate for the target itself, loses 13 to 29 % of them. On a table the noise of a
    step at its ends is not that of Euler-Maruyama. See tests.samplers.test_markov.

    Args:
        equal: steps of equal lengths, which mean matching trains.
    """
    gap = 1e-4 * path.t_max
    grid: TimeGrid = Uniform(gap=gap, t_min=0.0) if equal or path.discrete else Karras(rho=1.5, gap=gap)
    sampler: Sampler = Implicit(eta=1.0) if path.discrete and not equal else EulerMaruyama()
    return Plan(path=path, sampler=sampler, grid=grid, start=Pinned(), steps=steps)


def _defaults(given: Sampling, usual: Plan, *, automatic: bool) -> Defaults:
    """Return a card's sampling: what is given, else as usual; of another sampler, its default grid and start.

    Args:
        automatic: the sampler is what `auto` chooses for the usual budget.
    """
    if given.sampler == AUTO or (automatic and given.steps is None):
        chosen = choose(usual.path, usual.nfe)
        given = dataclasses.replace(given, sampler=chosen.sampler, grid=given.grid or chosen.grid)
    sampler = usual.sampler if given.sampler is None else build(SAMPLERS, given.sampler, what="sampler")
    other = sampler.name != usual.sampler.name
    grid = default_grid(usual.path, sampler) if other else usual.grid
    keeps = isinstance(usual.start, Prior | Drawn)  # which the model needs, not the sampler
    start = default_start(usual.path, sampler) if other and not keeps else usual.start
    plan = Plan(
        path=usual.path,
        sampler=sampler,
        grid=grid if given.grid is None else build(GRIDS, given.grid, what="grid"),
        start=start,
        steps=usual.steps,
    )
    if given.steps:
        plan = dataclasses.replace(plan, steps=given.steps)
    elif automatic or other:
        plan = plan.within(usual.nfe)
    described: Any = plan.describe()
    return cast(Defaults, described)


def _check_unpaired(path: ProbabilityPath, network: dict[str, Any], *, at_once: bool) -> None:
    """Refuse a path and a network that cannot be trained in two directions without the source."""
    if path.source_free:
        bridges = ", ".join(name for name, each in PATHS.items() if not each.source_free)
        raise UsageError(f"path '{path.name}' has no source", hint=f"choose one of: {bridges}")
    if at_once or "classes" not in network:
        raise UsageError(f"network '{network['name']}' cannot be trained without pairs", hint="use --network adm")


def _check_prior(path: ProbabilityPath) -> None:
    """Refuse a bridge whose source would not be noise alone."""
    if path.source_free or signal_left(path) <= MAX_SIGNAL_LEFT:
        return
    free = ", ".join(name for name, each in PATHS.items() if each.source_free)
    raise UsageError(
        f"path '{path.name}' needs a source: its end is not noise (signal-to-noise ratio {signal_left(path):.2g})",
        hint=f"choose one of: {free}; or ve-bridge, rectified, vp-bridge:beta_d=19.9",
    )


def _expects(request: TrainRequest, batches: Batches | TwoSides) -> Expects | None:
    """Return what the model expects of its input: what is given, and of that the rest measured on the sources."""
    if not request.needs_pairs:
        return None
    asked = read_expects(request.expects) if request.expects else None
    if isinstance(asked, Photograph):
        return Expects(kind="photograph")
    given = {name: value for name, value in vars(asked).items() if value is not None} if asked else {}
    if len(given) == len(dataclasses.fields(LineArt)):
        return Expects(kind="line-art", **given)
    sources = [batches.pair(index)[1] for index in spread(len(batches), MEASURED_SOURCES)]
    measured = measure([((source.permute(1, 2, 0) + 1) / 2).numpy() for source in sources])
    return dataclasses.replace(measured, kind="line-art", **given) if asked else measured


def _prediction(request: TrainRequest, path: ProbabilityPath, batches: Batches | TwoSides) -> dict[str, object]:
    """Return the prediction; a preconditioned one without sigmas gets those of the data."""
    prediction = describe(build(PREDICTIONS, request.prediction or "", what="prediction"))
    if prediction["name"] != "preconditioned" or "sigma" in (request.prediction or ""):
        return prediction
    measured = _measure(batches)
    if request.is_unpaired:  # each side is the source of one direction and the target of the other
        both = ((measured["sigma_data"] ** 2 + measured["sigma_source"] ** 2) / 2) ** 0.5
        return prediction | {"sigma_data": both, "sigma_source": both, "cov": measured["cov"]}
    if not request.is_prior:
        return prediction | measured
    sigma = measured["sigma_data"]
    if path.source_free:
        return prediction | {"sigma_data": sigma}
    if path.noise_free:
        return prediction | {"sigma_data": sigma, "sigma_source": path.sigma_T, "cov": 0.0}
    ends = {"sigma_source": (path.alpha_T**2 * sigma**2 + path.sigma_T**2) ** 0.5, "cov": path.alpha_T * sigma**2}
    return prediction | {"sigma_data": sigma, **ends}


def _measure(batches: Batches | TwoSides) -> dict[str, float]:
    """Return root mean squares of target and source, and the mean of their product."""
    chosen = [batches.states(index) for index in spread(len(batches), MEASURED_PAIRS)]
    target, source = (torch.stack(side) for side in zip(*chosen, strict=True))
    target, source = target.double(), source.double()
    sigma_data, sigma_source = (max(float(side.square().mean().sqrt()), MIN_SIGMA) for side in (target, source))
    # Of identical images nothing would be unknown, and the weight of the network's output would be 0.
    largest = MAX_CORRELATION * sigma_data * sigma_source
    cov = min(max(float((target * source).mean()), -largest), largest)
    return {"sigma_data": sigma_data, "sigma_source": sigma_source, "cov": cov}


def spread(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` indices, evenly spread over `count`."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]
