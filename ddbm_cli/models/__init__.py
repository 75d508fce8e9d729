"""Model files and what they hold: a card, a denoiser, a way to sample."""

from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.checkpoint import write_model
from ddbm_cli.models.model import TranslationModel, assemble, builtin_path, load_model

__all__ = ["ModelCard", "TranslationModel", "assemble", "builtin_path", "load_model", "write_model"]
