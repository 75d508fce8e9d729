"""Model files and what they hold: a card, a denoiser, a way to sample."""

from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.checkpoint import write_model
from ddbm_cli.models.ddib import DDIB
from ddbm_cli.models.loading import loading
from ddbm_cli.models.locate import builtin_path, locate, locating
from ddbm_cli.models.model import TranslationModel, assemble, load_model

__all__ = [
    "DDIB",
    "ModelCard",
    "TranslationModel",
    "assemble",
    "builtin_path",
    "load_model",
    "loading",
    "locate",
    "locating",
    "write_model",
]
