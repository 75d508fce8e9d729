"""What tests share."""

import os
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden values that is part of the repository."""
    return HERE / "golden"


@pytest.fixture(scope="session")
def golden_weights() -> Path:
    """The folder of the golden networks' weights, which are too large to be part of it."""
    places = [Path(os.environ["DDBM_GOLDEN"])] if "DDBM_GOLDEN" in os.environ else []
    places.append(HERE.parent.parent / "shared" / "golden")
    for place in places:
        if (place / "unet-e2h-like.weights.safetensors").exists():
            return place
    pytest.skip("the golden networks' weights are not here; set DDBM_GOLDEN to their folder")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors are faster on one thread, and the tests share the machine."""
    torch.set_num_threads(1)
