"""Comparing a model with its version of few evaluations, and with perturbed guidance."""

import json

from ddbm_cli.comparison.request import check
from ddbm_cli.tasks.compare import request, run
from tests.tiny import picture, write_tiny


def compare(folder, *methods, **options):
    """Compare on one picture; return the methods of the report."""
    for side in ("in", "truth"):
        (folder / side).mkdir()
        picture(5 * (side == "truth"), 16).save(folder / side / "0.png")
    given = {"source": str(folder / "in"), "outputs": (folder / "cmp.json",), "device": "cpu", "trajectories": 0}
    list(run(request(**given, methods=methods, **options)))
    return json.loads((folder / "cmp.json").read_text())["methods"]


def test_perturbed_guidance_is_a_field_of_a_method(tmp_path):
    options = {"model": str(write_tiny(tmp_path / "tiny.safetensors")), "targets": tmp_path / "truth"}
    plain, guided = compare(tmp_path, "dbim:4", "dbim:4,perturbed_guidance=blur:scale=3+split=yes", **options)
    assert "perturbed guidance blur:scale=3,split=yes" in guided["method"]
    assert plain["scores"] != guided["scores"]
    assert all("--perturbed-guidance blur:" in command for command in guided["commands"].values())


def test_the_fast_version_and_its_teacher_are_two_columns(tmp_path):
    fast, teacher = compare(tmp_path, "fast", "default:4")
    assert (fast["nfe"], teacher["nfe"]) == (2, 4)
    assert (fast["model"], teacher["model"]) == ("sketch-to-3d-64-fast", "sketch-to-3d-64")
    assert all("-m sketch-to-3d-64-fast" in command.replace("--model", "-m") for command in fast["commands"].values())


def test_the_default_comparison_has_the_fast_version_where_there_is_one(tmp_path):
    (tmp_path / "in").mkdir()

    def names(**options):
        return [method.name for method in check(request(source=str(tmp_path / "in"), **options))]

    assert names().count("fast") == names(model="sketch-to-3d-64").count("fast") == 1
    assert "fast" not in names(model=str(tmp_path / "tiny.safetensors")) + names(model="sketch-to-3d-64-fast")
    assert names(model=str(tmp_path / "tiny.safetensors"), methods=("fast",)) == ["fast"]  # its column says why
