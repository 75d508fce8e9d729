"""The feature networks' files: where the libraries keep them, and that they are the published ones.

They are in torch's own cache, which torchvision and torch-fidelity use too. Measuring downloads nothing: a figure whose
file is not downloaded is skipped, and the file is named. Each name ends in the first digits of the file's SHA-256.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256_of_file

PULL = "ddbm weights pull metrics"


@dataclass(frozen=True)
class Weights:
    """A file of a feature network. head: the first digits of its sha256."""

    url: str
    head: str
    used_by: str

    @property
    def path(self) -> Path:
        """Path of the file, downloaded or not."""
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[1]

    def good(self) -> bool:
        """Return whether the file is downloaded and is the published one."""
        if not self.path.is_file():
            return False
        return sha256_of_file(self.path).startswith(self.head)


class MissingWeightsError(ModelError):
    """The file of a feature network is not downloaded."""


INCEPTION = Weights(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
    "FID, KID, IS, precision, recall, AFD",
)
ALEXNET = Weights("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79", "LPIPS")
VGG16 = Weights("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", "DISTS")

ALL = (INCEPTION, ALEXNET, VGG16)


@contextmanager
def published(weights: Weights) -> Iterator[None]:
    """Check a file; within the block, libraries load tensors only, see `tensors_alone`.

    Raises:
        MissingWeightsError: it is not downloaded, or is another file.
    """
    if not weights.path.exists():
        raise MissingWeightsError(f"{weights.used_by}: {weights.path} is not downloaded", hint=PULL)
    if not weights.good():
        raise MissingWeightsError(
            f"{weights.used_by}: {weights.path} is not the published file", hint=f"remove it, then {PULL}"
        )
    with tensors_alone():
        yield


@contextmanager
def tensors_alone() -> Iterator[None]:
    """Within the block, libraries load tensors only and never unpickle."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def fetch(weights: Weights) -> bool:
    """Download a file from its publisher if it is missing; return whether that was needed. Its digest is checked.

    Raises:
        ModelError: it is not available, or is not the published file.
    """
    import torch

    if weights.good():
        return False
    try:
        weights.path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(weights.path), hash_prefix=weights.head, progress=False)
    except URLError as error:
        raise ModelError(
            f"{weights.url}: cannot be downloaded ({error.reason})", hint=f"copy the file to {weights.path.parent}"
        ) from None
    except RuntimeError as error:
        raise ModelError(f"{weights.url}: {error}", hint="try again later") from None
    except OSError as error:
        raise ModelError(
            f"{weights.path}: cannot be written ({error})", hint="free some space, or set TORCH_HOME"
        ) from None
    return True
