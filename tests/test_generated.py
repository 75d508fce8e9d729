"""What is generated from the code is up to date."""

import pytest

from ddbm_cli.cli.generate import generated


@pytest.mark.parametrize(("file", "text"), [*generated()], ids=lambda each: getattr(each, "name", ""))
def test_generated_files_are_up_to_date(file, text):
    assert file.read_text(encoding="utf-8") == text, "run: python -m ddbm_cli.cli.generate"
