"""Comparing drawings as people have them: all methods get the same prepared images."""

import json

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging import preparing
from ddbm_cli.imaging.preparing import Part, Prepared
from ddbm_cli.tasks import preparing as tasks_preparing
from ddbm_cli.tasks.events import Failed, Planned
from ddbm_cli.tasks.preparing import Remembered
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


def test_each_input_is_prepared_once(folder, monkeypatch):
    looked = []

    def prepare(image, *how):
        looked.append(image.tobytes())
        return preparing.prepare(image, *how)

    monkeypatch.setattr(tasks_preparing, "prepare", prepare)
    (folder / "photos").mkdir()
    for index in range(2):
        drawings.photo(index, 1).save(folder / "photos" / f"{index}.png")
    drawn = write_tiny(folder / "drawn.safetensors", expects={"kind": "line-art"})
    compare(folder, "dbim", "ddbm", source=str(folder / "photos"), model=str(drawn), trajectories=1)
    assert len(looked) == len(set(looked)) == 2


def test_what_exceeds_the_limit_is_prepared_again():
    part = Part(Image.new("RGB", (10, 10)), (0, 0, 10, 10))
    remembered, made = Remembered(500), []

    def make():
        made.append(Prepared((part,)))
        return made[-1]

    assert remembered("a", make) is remembered("a", make) is made[0] and len(made) == 1
    assert remembered("b", make) is not remembered("b", make) and len(made) == 3


def test_an_unknown_preparation_is_refused(folder):
    with pytest.raises(UsageError):
        compare(folder, prepare="blur")
