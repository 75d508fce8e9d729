"""Training without pairs: two sets of images, and the batches of the rounds of a Schrödinger bridge."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import seed_of
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.pairs import PairSplit, find_pairs
from ddbm_cli.imaging.prepare import fit_of
from ddbm_cli.models import ModelCard, TranslationModel, assemble
from ddbm_cli.networks import Directed
from ddbm_cli.options.recipe import AUTO
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.options.unpaired import FIRST_ROUNDS
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.tasks.train.data import Data, codec_of, data_of
from ddbm_cli.training.couplings import Couplings, Rounds, Simulation
from ddbm_cli.training.first_couplings import COUPLINGS, FromPriors
from ddbm_cli.training.mean_matching import MeanMatching
from ddbm_cli.training.pair_files import PairFiles
from ddbm_cli.training.sides import TwoSides, parts_of

PAIRS = "pairs"
"""The folder of simulated pairs in that of a run."""

HINT = "pass two folders: ddbm train A B --task schrodinger"


def first_round_steps(request: TrainRequest) -> int:
    """Return the number of steps of the first round."""
    return request.first_round_steps or FIRST_ROUNDS * request.round_steps


def rounds_in_words(request: TrainRequest) -> str:
    """Return the rounds of a request, as one line."""
    path, first = build(PATHS, request.path, what="path"), first_round_steps(request)
    others = max(0, math.ceil((request.recipe.steps - first) / request.round_steps))
    pairs = "whole trajectories" if request.matching == "mean" else f"first pairs {request.coupling}"
    limit = "without noise, this is rectified flow (reflow)" if path.noise_free else ""
    lengths = f"{1 + others} rounds, the first of {first} steps, the others of {request.round_steps}"
    simulated = f"pairs simulated in {request.simulation_steps} evaluations, at most {request.cache_pairs} of a round"
    networks = "one network" if request.networks == "one" else "two networks"
    return "; ".join(filter(None, (lengths, pairs, simulated, networks, limit)))


def load_sides(request: TrainRequest, *, exclude: Sequence[Path]) -> Data:
    """Find the images of both sides of a request, and check that they can be used.

    Args:
        request: what to train.
        exclude: folders that are not data, such as the run's.

    Raises:
        UsageError: there are not two sets of images.
        DdbmError: most of them cannot be used.
    """
    if request.recipe.batch_size == AUTO:
        raise UsageError("--batch-size auto is not available for --task schrodinger", hint="pass a number")
    sides = _found(request, exclude)
    whole = PairSplit(
        train=[pair for side in sides for pair in side.train],
        val=[pair for side in sides for pair in side.val],
        broken=[problem for side in sides for problem in side.broken],
        folders=[f"{name}: {'; '.join(side.folders)}" for name, side in zip("AB", sides, strict=True)],
        notes=list(dict.fromkeys(note for side in sides for note in side.notes)),
    )
    for side in sides:
        whole.skipped.update(side.skipped)
    if request.fit is None:
        request = dataclasses.replace(request, fit=fit_of(whole.train))
    codec = codec_of(request)
    other_seed = seed_of(f"{request.recipe.seed}\nB") >> 1
    other = dataclasses.replace(request, recipe=dataclasses.replace(request.recipe, seed=other_seed))
    first, second = (data_of(each, side, codec, parts=2) for each, side in zip((request, other), sides, strict=True))
    usable = [dataclasses.replace(side, val=data.pairs.val) for side, data in zip(sides, (first, second), strict=True)]
    return dataclasses.replace(
        first,
        pairs=dataclasses.replace(whole, val=[pair for side in usable for pair in side.val]),
        batches=TwoSides(*parts_of(first.batches), *parts_of(second.batches)),
        held_out=TwoSides(*parts_of(first.held_out), *parts_of(second.held_out)),
        failures=first.failures + second.failures,
    )


def _found(request: TrainRequest, exclude: Sequence[Path]) -> list[PairSplit]:
    """Return the images of A and of B, each as targets."""

    def found(root: Path, *, swap: bool = False) -> PairSplit:
        return find_pairs([root], val_share=request.val_share, targets_only=True, exclude=exclude, swap=swap)

    roots = request.data
    if len(roots) > 2:
        raise UsageError(f"--task schrodinger takes two folders, not {len(roots)}", hint=HINT)
    if len(roots) == 2:
        sides = [found(root) for root in roots]
    else:
        sides = [found(roots[0], swap=swap) for swap in (True, False)]
    if sides[0].train == sides[1].train:
        raise UsageError(f"{roots[0]} holds one set of images, not two", hint=HINT)
    return sides[::-1] if request.direction == "BtoA" else sides


def denoiser_of(card: ModelCard) -> Denoiser:
    """Return the denoiser of a card with new weights; of a card with two networks, one with both.

    Raises:
        ModelError: as `assemble`.
    """
    denoiser = assemble(card)
    if card.networks:
        denoiser.network = Directed({name: assemble(card).network for name in card.networks})
    return denoiser


def couplings_of(
    request: TrainRequest, card: ModelCard, sides: TwoSides, denoiser: Denoiser, *, folder: Path | None
) -> Couplings:
    """Return the batches of a run's rounds.

    Args:
        denoiser: what is trained, with its first weights.
        folder: of the run, which simulated pairs are kept in; None for nowhere.

    Raises:
        UsageError: settings that do not fit each other.
    """
    size = request.recipe.pairs_per_step
    if size % 2:
        raise UsageError(
            f"batches of {size} cannot be divided into two directions", hint=f"use --batch-size {size + 1}"
        )
    path = build(PATHS, request.path, what="path")
    first = build(COUPLINGS, request.coupling, what="coupling")
    first.check(path)
    if first.name == FromPriors.name and request.codec:
        raise UsageError("--coupling priors is for pixels, not for latents", hint="leave out --codec, or --coupling")
    if request.matching == "mean":
        _check_mean(request, path)
    plan = TranslationModel(card, denoiser).plan(nfe=request.simulation_steps)
    simulation = Simulation(denoiser, plan, clip=card.clip)
    rounds = Rounds(first_round_steps(request), request.round_steps, max(1, request.cache_pairs // size))
    files = None if folder is None else PairFiles(folder / PAIRS)
    given: dict[str, Any] = {"files": files, "size": size, "seed": request.recipe.seed}
    if request.matching == "mean":
        return MeanMatching(sides, simulation, first, rounds, steps=request.simulation_steps, **given)
    return Couplings(sides, simulation, first, rounds, **given)


def _check_mean(request: TrainRequest, path: ProbabilityPath) -> None:
    if path.noise_free:
        raise UsageError(
            f"--matching mean needs noise, and path '{path.name}' has none",
            hint="use --matching bridge, or --path brownian",
        )
    if request.coupling != TrainRequest.coupling:
        raise UsageError(
            f"--matching mean begins with trajectories of the reference, not with --coupling {request.coupling}",
            hint="leave out --coupling, or --matching mean",
        )
