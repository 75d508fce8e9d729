"""The command, run in this process: no start-up to wait for."""

import io
import sys
from types import SimpleNamespace

import pytest

from ddbm_cli.cli.main import main
from tests.tiny import picture, write_tiny


@pytest.fixture
def ddbm(monkeypatch):
    """Run the command; return (exit code, standard output as bytes, standard error as text)."""

    def run(*arguments, stdin=b"", **environment):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["ddbm", *map(str, arguments)])
            patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr("warnings.simplefilter", lambda *given, **named: None)
            patch.setenv("COLUMNS", "200")
            patch.setenv("DDBM_DEBUG", "0")
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as stop:
                main()
            out.flush(), err.flush()
            return stop.value.code or 0, out.buffer.getvalue(), err.buffer.getvalue().decode(errors="replace")

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index, 40).save(tmp_path / "in" / f"{index}.png")
    return tmp_path
