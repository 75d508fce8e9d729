"""Wrong values of the hub library's variables: one line, wherever the library is imported."""

import os
import subprocess
import sys

import pytest

TRY = """
from ddbm_cli.foundation.errors import UsageError
try:
    import ddbm_cli.registry.{module}
except UsageError as error:
    print(error.message, "|", error.hint)
"""
WRONG = {"HF_ENDPOINT": "http://[", "HF_HUB_DOWNLOAD_TIMEOUT": "soon", "HF_HUB_ETAG_TIMEOUT": "-"}


@pytest.mark.parametrize("module", ["hub", "upload"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_variable_of_the_library_is_explained(name, module):
    environment = os.environ | {name: WRONG[name]}
    command = [sys.executable, "-c", TRY.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "a variable of the Hugging Face Hub has a wrong value" in done.stdout and "HF_ENDPOINT" in done.stdout
    assert len(done.stdout.splitlines()) == 1 and not done.stderr
