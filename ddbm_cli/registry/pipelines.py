"""Folders in diffusers' layout, here or on the hub: which of their files make a pipeline, and where they are.

Of a repository only safetensors weights and settings are fetched, each file checked and resumed as any model's.
"""

from pathlib import Path

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.entry import HubFile
from ddbm_cli.registry.locate import Locating, not_here
from ddbm_cli.registry.reference import HubRepo, Reference, is_commit, parse

PREFIX = "diffusers:"
"""Before the name of a folder, or of a repository on the hub, after -m."""

FILES = (
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "scheduler/scheduler_config.json",
)


def is_pipeline(reference: object) -> bool:
    """Return whether a reference names a pipeline."""
    return isinstance(reference, str) and reference.startswith(PREFIX)


def is_pipeline_folder(folder: Path) -> bool:
    """Return whether a folder holds a text-to-image pipeline, and not one network alone."""
    return (folder / "unet").is_dir() and ((folder / "vae").is_dir() or (folder / "text_encoder").is_dir())


def locating_pipeline(reference: str, *, fetch: bool = True) -> Locating[Path]:
    """Return the folder of a pipeline, and yield what happens on the way.

    Args:
        reference: PREFIX and a folder, or "org/repo[@revision]".
        fetch: False to do without the network: then a repository that is not here is an error.

    Raises:
        ModelError: it cannot be had.
    """
    name = reference.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        repo: Reference | None = parse(name)
    except ModelError:
        repo = None
    if not isinstance(repo, HubRepo):
        raise ModelError(f"{name}: no such folder", hint=f"write {PREFIX}FOLDER, or {PREFIX}org/repo")
    from ddbm_cli.registry import cache, hub

    # The first file says at which commit the others are wanted, so that all are of one.
    revision, folder = repo.revision, Path()
    for name in FILES:
        file = HubFile(repo.repo, name, revision, fixed=is_commit(revision))
        record = (yield from hub.pull(file)) if fetch else cache.cached(file)
        if record is None:
            raise not_here(reference)
        revision, folder = record.commit, Path(record.path).parents[1]
    return folder
