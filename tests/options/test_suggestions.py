"""What errors suggest instead of a wrong word or value."""

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.guides import GUIDES
from ddbm_cli.networks import NETWORKS
from ddbm_cli.options.names import suggest

DEGRADATIONS = ["degrade:sr4", "degrade:sr8", "degrade:jpeg10"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("degrade:foo", ""),
        ("sr4", "did you mean 'degrade:sr4'? "),
        ("degrade:jpg10", "did you mean 'degrade:jpeg10'? "),
    ],
)
def test_a_common_prefix_is_no_similarity(word, hint):
    assert suggest(word, DEGRADATIONS) == hint


def test_nothing_is_suggested_where_nothing_is_known():
    assert suggest("word", []) == ""


@pytest.mark.parametrize(
    ("kinds", "spec", "hint"),
    [(GUIDES, "blur:sigma=x", "pass a number"), (NETWORKS, "adm:copies=maybe", "pass true or false")],
)
def test_a_value_of_another_kind_is_explained_in_plain_words(kinds, spec, hint):
    with pytest.raises(UsageError) as caught:
        build(kinds, spec, what="part")
    assert caught.value.hint == hint


def test_a_large_limit_is_written_without_a_fraction():
    assert Field("", gt=0, le=1_000_000.0).range == "above 0 to 1,000,000"
    assert Field("", ge=0.0, le=0.5).range == "0 to 0.5"
