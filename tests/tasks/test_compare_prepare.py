"""Comparing drawings as people have them: all methods get the same prepared images."""

import json

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.tasks.events import Failed, Planned
from tests.imaging import drawings
from tests.tasks.test_compare import compare, folder, kinds, prior, told
from tests.tiny import write_tiny

__all__ = ["folder", "prior"]


def test_drawings_are_prepared_once_and_alike_for_all_methods(folder, prior):
    source = folder / "photo.png"
    drawings.photo(0, 1).save(source)
    drawn = write_tiny(folder / "drawn.safetensors", expects={"kind": "line-art"})
    methods = ("default", f"sdedit:0.5,model={prior}")
    found = {}
    for how in ("auto", "none"):
        options = {"source": str(source), "model": str(drawn), "prepare": how, "overwrite": True}
        outputs = (folder / "cmp.json", folder / "cmp.html")
        events = compare(folder, *methods, outputs=outputs, trajectories=1, **options)
        assert not kinds(events, Failed)
        assert ("Prepare" in kinds(events, Planned)[0].facts) == (how == "auto")
        found[how] = told(folder)
        text = (folder / "cmp.html").read_text()
        assert ("--prepare auto" in text) == (how == "auto") == ("--prepare sketch" in text)
    assert found["auto"] != found["none"]
    assert "prepare" in json.dumps(found["auto"]) and not list(folder.glob(".ddbm-*"))


def test_an_unknown_preparation_is_refused(folder):
    with pytest.raises(UsageError):
        compare(folder, prepare="blur")
