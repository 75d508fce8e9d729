"""Notes for the reader of a comparison: unequal work, few images, training images, equal results."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import PurePath

from ddbm_cli.comparison.method import Method
from ddbm_cli.comparison.result import Input, Outcome
from ddbm_cli.metrics.instructions import Agreement

FEW = 50
"""Images of which a mean still changes noticeably with every one."""

FEW_OF_A_SET = 2048
"""Images of which a figure of the set, such as FID, still depends on their number."""

OFF_BUDGET = 1.3
"""Factor by which a measured time may differ from a budget of seconds."""

MOST_NAMED = 3


def notes(
    methods: Sequence[Method],
    outcomes: Sequence[Outcome],
    inputs: Sequence[Input],
    *,
    targets: int,
    nfe: int | None,
    seconds: float | None,
) -> Iterator[str]:
    """Yield one sentence or two for each fact.

    Args:
        methods, outcomes: in the same order. targets: number of inputs with a target.
        nfe, seconds: the budget of the whole comparison.
    """
    ran = [(method, outcome) for method, outcome in zip(methods, outcomes, strict=True) if not outcome.error]
    yield from _training(inputs)
    yield from _work(ran, nfe, seconds)
    guided = [outcome.label for method, outcome in ran if method.is_guided]
    if guided:
        yield f"Guided: {_named(guided)}. One evaluation computes up to three estimates, and takes that much longer."
    yield from _instructed(inputs, [outcome for _, outcome in ran])
    yield from _equal([outcome for _, outcome in ran])
    unreadable = [each.name for each in inputs if each.error]
    if unreadable:
        yield f"{_named(unreadable)} cannot be read and {'is' if len(unreadable) == 1 else 'are'} left out."
    shown = len(inputs) - len(unreadable)
    if 0 < targets < shown:
        yield f"Scores against targets are of {targets} of {shown} inputs: the others have no target."
    if 0 < targets < FEW:
        images = "1 image is" if targets == 1 else f"{targets} images are"
        yield f"{images} few: small differences between means may be chance."
    sets = sorted({label for _, outcome in ran for label in outcome.figures})
    if sets and targets < FEW_OF_A_SET:
        yield f"{' and '.join(sets)}: computed from a set of {targets} images. Compare within this table only."


def _instructed(inputs: Sequence[Input], outcomes: Sequence[Outcome]) -> Iterator[str]:
    asked = {each.name for each in inputs if each.prompt}
    found = {name for outcome in outcomes for name in outcome.scores.get(Agreement.label, {})}
    if len(asked & found) < len(asked):
        counts = f"{len(asked & found)} of {len(asked)} inputs"
        yield f"{Agreement.label} is of {counts}, not of those {Agreement.unmeasured}."


def _training(inputs: Sequence[Input]) -> Iterator[str]:
    names = [each.name for each in inputs if each.split == "training"]
    if names:
        verb = "is a training image" if len(names) == 1 else "are training images"
        yield f"{len(names)} of {len(inputs)} inputs {verb} of a model ({_named(names)}): their scores are too good."


def _work(ran: Sequence[tuple[Method, Outcome]], nfe: int | None, seconds: float | None) -> Iterator[str]:
    for method, outcome in ran:
        if outcome.off_budget and method.nfe is not None:
            yield f"{outcome.label}: the budget is {method.nfe}. {outcome.off_budget}"
        if seconds and not method.own_budget and outcome.seconds and not _near(outcome.seconds, seconds):
            yield f"{outcome.label}: {outcome.seconds:.3g} s per image, although the budget is {seconds:g} s."
    outcomes = [outcome for _, outcome in ran]
    for steps in sorted({each.steps for each in outcomes}):
        same = [each for each in outcomes if each.steps == steps]
        if len({each.nfe for each in same}) > 1:
            labels = _named([each.label for each in same])
            yield f"{labels} take {steps} steps each, but not the same work: compare their NFE."
    if len({outcome.nfe for outcome in outcomes}) < 2 or seconds:
        return
    if nfe is None:
        yield "The methods differ in network evaluations. Pass --nfe to give all of them the same budget."
    own = [outcome.label for method, outcome in ran if method.own_budget and outcome.nfe != nfe]
    if nfe is not None and own:
        yield f"The methods differ in network evaluations: --nfe {nfe} does not apply to {', '.join(own)}."


def _near(value: float, wanted: float) -> bool:
    return wanted / OFF_BUDGET <= value <= wanted * OFF_BUDGET


def _equal(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for first, second in combinations(outcomes, 2):
        if first.images and first.images == second.images:
            yield f"{first.label} and {second.label} give identical images: model, sampler and steps are the same."


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    shown = [*names[:MOST_NAMED], f"{more} more"] if more > 0 else list(names)
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


def distinguish(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes with unique labels: methods that differ only in the model get its name, or its place.

    Two models of one name are distinguished by the shortest part of their references that differs.
    """
    models = {each.digest: each for each in outcomes if each.digest}
    names = [each.model for each in models.values()]
    ambiguous = {digest: each.reference for digest, each in models.items() if names.count(each.model) > 1}
    places = _shortest(ambiguous)
    called = {
        digest: f"{each.model} ({places[digest]})" if digest in places else each.model
        for digest, each in models.items()
    }
    several = {
        each.series
        for each in outcomes
        if len({other.digest for other in outcomes if other.digest and other.series == each.series}) > 1
    }
    named = [
        replace(each, label=f"{each.label}, {called[each.digest]}", series=f"{each.series}, {called[each.digest]}")
        if each.digest and each.series in several
        else each
        for each in outcomes
    ]
    counts: dict[str, int] = {}
    unique = []
    for each in named:
        counts[each.label] = counts.get(each.label, 0) + 1
        unique.append(replace(each, label=f"{each.label} ({counts[each.label]})") if counts[each.label] > 1 else each)
    return unique


def _shortest(references: dict[str, str]) -> dict[str, str]:
    """Return the shortest ends of paths that differ, without the last parts that all have in common."""
    parts = {key: PurePath(reference or "built-in").parts for key, reference in references.items()}
    common = 0
    while parts and all(len(each) > common + 1 for each in parts.values()):
        if len({each[-1 - common] for each in parts.values()}) > 1:
            break
        common += 1
    ends = {key: each[: len(each) - common] for key, each in parts.items()}
    for length in range(1, max(map(len, ends.values()), default=0) + 1):
        short = {key: "/".join(each[-length:]) for key, each in ends.items()}
        if len(set(short.values())) == len(short):
            return short
    return references
