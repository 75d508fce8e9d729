"""The command, run in this process: no start-up to wait for."""

import pytest

from tests.tiny import picture, write_tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index, 40).save(tmp_path / "in" / f"{index}.png")
    return tmp_path
