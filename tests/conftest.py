"""What tests share."""

import io
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ddbm_cli.cli.main import main
from ddbm_cli.tasks import doctor
from tests.hub import Hub

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden values that is part of the repository."""
    return HERE / "golden"


@pytest.fixture(autouse=True, scope="session")
def _small_and_on_one_thread() -> None:
    """Small tensors are faster on one thread, and the tests share the machine, whose speed is no test's subject."""
    torch.set_num_threads(1)
    doctor.SECONDS, doctor.CONV = 0.0, (1, 8, 8)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason='needs pip install "ddbm-cli[browser]"')
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on loopback, and an empty cache and home of our own; nothing waits before it tries again."""
    from huggingface_hub import constants

    with Hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("ddbm_cli.registry.transfer.time.sleep", lambda seconds: None)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("DDBM_HOME", str(tmp_path / "home"))
        yield server


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
