"""From what a user writes after -m to a model ready to work."""

from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.locate import locating
from ddbm_cli.models.model import TranslationModel, load_model
from ddbm_cli.registry.locate import Locating
from ddbm_cli.registry.pipelines import is_pipeline, locating_pipeline


def loading(
    reference: str | Path | None, *, device: str = "auto", dtype: str = "auto", fetch: bool = True, **told: Any
) -> Locating[TranslationModel]:
    """Load a model, and yield what happens on the way: downloads and conversions.

    Args:
        reference: as `locating` takes it; or "diffusers:" and a folder or repository.
        device, dtype: as of `load_model`.
        fetch: False to do without the network: then a model that is not here is an error.
        told: prompt and guidance_scale, for models that take a text; see `load_pipeline`.

    Raises:
        ModelError: it cannot be had, or is damaged.
        UsageError: no such device or dtype; or a text for a model that takes none.
    """
    if is_pipeline(reference):
        folder = yield from locating_pipeline(str(reference), fetch=fetch)
        from ddbm_cli.models.latent import load_pipeline

        return load_pipeline(folder, device=device, dtype=dtype, **told)
    file = yield from locating(reference, fetch=fetch)
    model = load_model(file, device=device, dtype=dtype)
    if told.get("prompt"):
        raise UsageError(f"model '{model.name}' takes no text", hint="leave out --prompt, or name -m diffusers:...")
    return model
