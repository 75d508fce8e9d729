"""How many images of a model are sampled together, where no number is given."""

from ddbm_cli.models import TranslationModel

BATCH_SIZES = {"cuda": 32}
BATCH_SIZE = 8
BATCH_SIDE = 128
"""Image side up to which these sizes are used; of larger images a batch has the same number of pixels."""


def auto_batch_size(model: TranslationModel, size: tuple[int, int] | None = None) -> int:
    """Return the number of images, or of tiles, of a model that are sampled together where no number is given.

    Args:
        size: (width, height) of one, in pixels; the model's own by default.
    """
    if model.device.type == "cpu" and not model.is_batch_invariant:
        return 1
    most = BATCH_SIZES.get(model.device.type, BATCH_SIZE)
    own = model.card.preprocess
    width, height = size or (own.width, own.height)
    return max(1, min(most, most * BATCH_SIDE**2 // (width * height)))
