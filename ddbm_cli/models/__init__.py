"""Model files and what they hold: a card, a denoiser, a way to sample."""

from ddbm_cli.models.assemble import assemble
from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.checkpoint import write_model
from ddbm_cli.models.ddib import DDIB
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.resolve import builtin_path, load_model, loading, locate, locating

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
