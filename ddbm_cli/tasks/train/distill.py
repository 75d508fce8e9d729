"""What an objective gets of its run; of a distillation, the teacher and how the student is sampled."""

import torch

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models import ModelCard, TranslationModel, locate
from ddbm_cli.models.assemble import assemble
from ddbm_cli.models.codecs import digest_of_codec
from ddbm_cli.models.load import load_file
from ddbm_cli.objectives import Context
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.paths import PATHS
from ddbm_cli.training.processes import Processes


def context_of(
    request: TrainRequest, card: ModelCard, codec: Codec, device: torch.device, processes: Processes
) -> Context:
    """Return what the objective of a run gets.

    Args:
        card, codec: of the model that is trained; the codec on the device.

    Raises:
        UsageError: the teacher cannot be distilled to this model.
    """
    if not request.is_distilled:
        return Context(device=device, codec=codec, reduce=processes.average, share=processes.share)
    with torch.device("meta"):
        plan = TranslationModel(card, assemble(card)).plan()
    return Context(
        device=device,
        teacher=_teacher(request, card, codec, device),
        plan=plan,
        clip=card.clip,
        states=(codec.channels, card.preprocess.height // codec.factor, card.preprocess.width // codec.factor),
        adversarial=request.adversarial,
        reduce=processes.average,
        share=processes.share,
    )


def _teacher(request: TrainRequest, card: ModelCard, codec: Codec, device: torch.device) -> Denoiser:
    assert request.teacher is not None
    teacher = load_file(locate(request.teacher), device=str(device), dtype="fp32")
    if teacher.is_prior or not teacher.card.concat_source:
        raise UsageError(f"{request.teacher} does not translate images", hint="pass a bridge as --teacher")
    if digest_of_codec(teacher.codec) != digest_of_codec(codec):
        raise UsageError(f"{request.teacher} has another autoencoder than --from", hint="leave out --from")
    if build(PATHS, teacher.card.path, what="path") != build(PATHS, card.path, what="path"):
        raise UsageError("the path is not that of the teacher", hint="leave out --path")
    return teacher.denoiser
