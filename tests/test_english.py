"""User-visible text uses the field's terms: no word of a list of private idioms is in help, errors, pages or models.

The page `reference` holds all help texts. Errors and hints are the string literals of the package, without docstrings.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "weights.toml")),
    *sorted((ROOT / "ddbm_cli" / "manual").glob("*.md")),
)
FILES = sorted((ROOT / "ddbm_cli").rglob("*.py"))

IDIOMS = re.compile(
    r"""
    \b(
        anew | aught | whence | thereby | beside | told | sees | knows | stains? | undisturbed | looked\ at\ once
      | costs?\ only | goes\ on | to\ be\ had | is\ (not\ )?here | law\ of\ the\ times | two\ ways\ to\ say
      | (no|make)\ picture | fills?\ holes | nobody\ to\ ask | lets\ in\ only | (not\ )?made\ of\ finite
      | evaluations?\ an?\ (image|picture|line|step) | ran\ out\ of\ range | the\ very\ bits
    )\b | \bTry:
    """,
    re.VERBOSE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_and_models_have_no_private_idioms(page):
    found = [f"line {number}: {line}" for number, line in enumerate(page.read_text().splitlines(), 1) if hit(line)]
    quoted = [line for line in found if "`Hint:` replaces `Try:`" in line]  # the changelog names the word that is gone
    assert found == quoted


def test_errors_and_help_have_no_private_idioms():
    assert [(str(file), text) for file in FILES for text in literals(file) if hit(text)] == []


def hit(text: str) -> bool:
    return IDIOMS.search(text) is not None


def literals(file: Path) -> list[str]:
    """The texts of a file with a space in them, without docstrings and the strings that describe constants."""
    tree = ast.parse(file.read_text())
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in texts if " " in node.value and id(node) not in described]


@pytest.mark.parametrize("text", ["is told beside it", "get the file anew", "3 evaluations a step", "Try: --help"])
def test_the_list_finds_what_it_should(text):
    assert hit(text)
