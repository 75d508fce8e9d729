"""The way back of a cycle: the other direction of the model that made the outputs of an evaluation."""

from collections.abc import Generator
from typing import Any

from torch import Tensor

from ddbm_cli.methods import DEFAULT_METHOD, METHODS
from ddbm_cli.models import loading
from ddbm_cli.models.card import DIRECTIONS
from ddbm_cli.options.evaluate import EvaluateRequest
from ddbm_cli.options.translate import TranslateRequest
from ddbm_cli.samplers import Noise, finish
from ddbm_cli.tasks.request import in_words


def loading_back(request: EvaluateRequest) -> Generator[Any, None, dict[str, Any]]:
    """Return what `metrics.CycleError` is made with; yield the events of the model's download.

    Raises:
        UsageError: the model translates in one direction only.
        ModelError: it is not available.
    """
    back = next(each for each in DIRECTIONS if each != request.direction)
    model = yield from loading(request.cycle, device=request.device, dtype="fp32", direction=back)
    plan = METHODS[DEFAULT_METHOD].plan(TranslateRequest(source="", model=request.cycle), model)

    def translate(images: Tensor, noise: Noise) -> Tensor:
        return finish(model.translate(images, noise, plan))

    words = f"{model.name}, {in_words(plan)}"
    return {"translate": translate, "preprocess": model.card.preprocess, "words": words}
