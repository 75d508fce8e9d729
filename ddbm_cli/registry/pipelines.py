"""Pipelines in diffusers' layout, as a local folder or a repository: which files they need.

Only safetensors weights and settings are downloaded; each file is checked and resumed like that of any model.
"""

from dataclasses import replace
from pathlib import Path

from ddbm_cli.foundation.documents import read_json
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.entry import INDEX, Entry, HubFile
from ddbm_cli.registry.events import Locating
from ddbm_cli.registry.reference import HubRepo, Reference, is_commit, not_here, parse

PREFIX = "diffusers:"
"""Before the name of a folder, or of a repository on the hub, after -m."""

_NETWORK = ("config.json", "diffusion_pytorch_model.safetensors")
_ENCODER = ("config.json", "model.safetensors")
_WORDS = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
PARTS = {
    "unet": _NETWORK,
    "transformer": _NETWORK,
    "vae": _NETWORK,
    "text_encoder": _ENCODER,
    "text_encoder_2": _ENCODER,
    "tokenizer": _WORDS,
    "tokenizer_2": _WORDS,
    "scheduler": ("scheduler_config.json",),
}
"""Folders of a pipeline that are used, and their files."""


def is_pipeline(reference: object) -> bool:
    """Return whether a reference names a pipeline."""
    return isinstance(reference, str) and reference.startswith(PREFIX)


def is_pipeline_folder(folder: Path) -> bool:
    """Return whether a folder holds a pipeline, and not one network alone or a model with our card."""
    return (
        not (folder / "ddbm.json").is_file()
        and ((folder / "unet").is_dir() or (folder / "transformer").is_dir())
        and ((folder / "vae").is_dir() or (folder / "text_encoder").is_dir())
    )


def locating_pipeline(reference: str, *, fetch: bool = True) -> Locating[Path]:
    """Return the folder of a pipeline; yield the events of its download.

    Args:
        reference: PREFIX and a folder, or "org/repo[@revision]".
        fetch: False to use no network: then a repository that is not downloaded is an error.

    Raises:
        ModelError: the pipeline is not available.
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
    index = HubFile(repo.repo, INDEX, repo.revision, fixed=is_commit(repo.revision))
    return (yield from locating_parts(index, reference, fetch=fetch))


def locating_parts(index: HubFile, name: str, *, fetch: bool) -> Locating[Path]:
    """Return the folder of the pipeline with an index on the hub; yield the events of its download.

    Args:
        name: what errors call it. fetch: as of `locating_pipeline`.

    Raises:
        ModelError: it is not available.
    """
    from ddbm_cli.registry import cache, hub

    # The other files are downloaded at the commit of the index, so that all are of one commit.
    files, folder = [index], Path()
    for file in files:
        record = (yield from hub.pull(file)) if fetch else cache.cached(file)
        if record is None:
            raise not_here(name)
        if file is index:
            folder = Path(record.path).parent
            files += [
                replace(index, file=part, revision=record.commit, fixed=True) for part in files_of(folder / INDEX)
            ]
    return folder


def parts_here(entry: Entry) -> list[HubFile]:
    """Return the files of an entry's pipeline on the hub, as far as they are known; the index is the last.

    Raises:
        ModelError: the index is damaged.
    """
    from ddbm_cli.registry import cache

    index = entry.hub_file
    record = cache.cached(index)
    if record is None:
        return [index]
    names = files_of(Path(record.path))
    return [*(replace(index, file=name, revision=record.commit, fixed=True) for name in names), index]


def files_of(index: Path) -> list[str]:
    """Return the files of a pipeline that are used, by its index.

    Raises:
        ModelError: the index is damaged.
    """
    body = read_json(index, hint="download the file again", error=ModelError, limit=2**20)
    if not isinstance(body, dict):
        raise ModelError(f"{index}: not the index of a pipeline", hint="specify a pipeline of diffusers")
    there = [part for part in PARTS if isinstance(body.get(part), list) and any(body[part])]
    return [f"{part}/{name}" for part in there for name in PARTS[part]]
