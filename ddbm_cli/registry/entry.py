"""One model of the registry, and one file of a repository on the hub."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.frozen import frozen
from ddbm_cli.registry.card_format import upgrade
from ddbm_cli.registry.header import read_card_body

FILE_NAME = "weights.toml"
PACKAGE = Path(__file__).parent.parent

REPO = r"[\w.-]+/[\w.-]+"
COMMIT = r"[0-9a-f]{40}"
MAIN = "main"

INDEX = "model_index.json"
"""The file that names the parts of a pipeline in diffusers' layout; an entry of this file is the whole pipeline."""

BUILTIN = PACKAGE / "assets" / "sketch-to-3d-64.safetensors"
"""The model that is used when no model is specified."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    revision: a branch, a tag or a commit. sha256: the expected digest in hexadecimal, "" if unknown.
    fixed: the content never changes, so later downloads are compared with the first; otherwise the branch may move.
    """

    repo: str
    file: str
    revision: str = MAIN
    sha256: str = ""
    fixed: bool = False

    def __str__(self) -> str:
        return f"{self.repo}{'' if self.revision == MAIN else f'@{self.revision}'}:{self.file}"

    @property
    def key(self) -> str:
        """The name of its record."""
        return f"{self.repo}@{self.revision}:{self.file}"


@frozen
class Entry:
    """One model of the registry.

    name, task: as in its card. file: its path in the repository on the hub, or in this package if it is built in.
    repo, revision: the repository on the hub, "owner/name", and a branch, tag or commit; "" for a built-in model.
    url: the address of a file that is not on the hub and has to be downloaded by hand.
    size: bytes of the file, if known. sha256: in hexadecimal; "" if none is published, in which case the digest of
    the first download is recorded and compared with later ones. parameters: number of weights, if known.
    licence, licence_source: words. importer: how to read a file without a card; "" for a file written by ddbm.
    card: for imported files, everything in `ModelCard` that the file does not hold. note: what could not be checked.
    fast: name of the model that was distilled from it, for `ddbm translate --fast`.
    fingerprint: numbers of the self-check of the correct model, if recorded; see `models.selfcheck`.
    builtin: part of this package. Only the package's own registry may set it.
    origin: the registry file that holds the entry. packaged: that file is the package's own.
    path: of a model that is in no registry: its file or folder.
    """

    name: str
    task: str
    file: str
    repo: str = ""
    revision: str = MAIN
    url: str = ""
    size: int | None = None
    sha256: str = ""
    parameters: int | None = None
    licence: str = "not stated"
    licence_source: str = ""
    importer: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    fingerprint: tuple[float, ...] = ()
    fast: str = ""
    builtin: bool = False
    origin: Path = PACKAGE / FILE_NAME
    packaged: bool = False
    path: Path | None = None

    @property
    def is_pipeline(self) -> bool:
        """Whether it is a pipeline in diffusers' layout, of several files."""
        return self.file == INDEX

    @property
    def builtin_file(self) -> Path:
        """Path of the file in this package."""
        return PACKAGE.parent / self.file

    @property
    def hub_file(self) -> HubFile:
        """The file on the hub.

        Raises:
            ModelError: the model is not on the hub.
        """
        if not self.repo:
            raise ModelError(
                f"model '{self.name}' is not on the hub",
                hint=f"download {self.url}, then run: ddbm weights import {self.file} --like {self.name}",
            )
        return HubFile(self.repo, self.file, self.revision, self.sha256, fixed=True)

    @property
    def source(self) -> str:
        """Source of the file, in a word or two."""
        if self.path:
            return "local file"
        return "this package" if self.builtin else self.repo or "manual"

    @property
    def is_default(self) -> bool:
        """Whether this is the model that is used when no model is specified."""
        return self.builtin and self.builtin_file == BUILTIN

    @property
    def about_bytes(self) -> int | None:
        """The size of the file: as stated, else 4 bytes per weight; None if unknown."""
        return self.size or (4 * self.parameters if self.parameters else None)

    def facts(self) -> dict[str, Any]:
        """Return the card as plain values, in the current format: the registry's, or the one in the built-in file.

        Raises:
            ModelError: the built-in file is damaged.
        """
        return read_card_body(self.builtin_file) if self.builtin else upgrade(self.card)
