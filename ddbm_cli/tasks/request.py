"""What to translate and how, as requested."""

from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.methods import Loader
from ddbm_cli.models import TranslationModel, loading
from ddbm_cli.options.check import from_options
from ddbm_cli.options.translate import TranslateRequest as TranslateRequest
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import NoisedStart, Plan


def request(**given: Any) -> TranslateRequest:
    """Return the request for the given options.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(TranslateRequest, given, command="translate")


def check_budget(request: TranslateRequest) -> None:
    """Check the budget before a large model is loaded.

    Raises:
        UsageError: a budget below 1, or two budgets.
    """
    for option, value in (("--nfe", request.nfe), ("--steps", request.steps)):
        if value is not None and value < 1:
            raise UsageError(f"{option} {value}: must be at least 1", hint=f"pass {option} 1 or more")
    if request.nfe is not None and request.steps is not None:
        raise UsageError("--steps and --nfe are mutually exclusive", hint="pass one of them")


def check_graph(request: TranslateRequest) -> None:
    """Check that no trajectory is asked of a graph, before a large model is loaded.

    Raises:
        UsageError: one is.
    """
    if request.graph and request.follows:
        raise UsageError("--graph keeps no trajectories", hint="remove --graph, or --gif, --strip and --steps-dir")


def loader(request: TranslateRequest) -> Loader:
    """Return what loads models onto the device of a request, with its text."""

    def load(reference: str | None) -> Locating[TranslationModel]:
        return (
            yield from loading(
                reference,
                device=request.device,
                dtype=request.dtype,
                compile=request.compile,
                direction=request.direction,
                graph=request.graph,
                fetch=not request.dry_run,
                texts=(request.prompt,),
            )
        )

    return load


def in_words(plan: Plan) -> str:
    """Return a plan in words; with the noise level of SDEdit's strength."""
    start, unit = plan.start, "step" if plan.steps == 1 else "steps"
    level = ""
    if isinstance(start, NoisedStart):
        level = f", strength {start.strength:g} = sigma {start.sigma(plan.path):.3g}"
    return f"{spell(plan.sampler)}, grid {spell(plan.grid)}, {plan.steps} {unit} = {plan.nfe} NFE{level}"
