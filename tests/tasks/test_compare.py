"""Comparing: equal budgets are equal work, equal commands give equal pages, and a failure costs its own column."""

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from ddbm_cli.comparison.request import check
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import write_model
from ddbm_cli.models.seen import remember
from ddbm_cli.networks import ADM
from ddbm_cli.tasks import evaluate, translate
from ddbm_cli.tasks.compare import request, run
from ddbm_cli.tasks.events import Compared, Evaluated, Failed, Finished, Made, Noticed, Planned, Written
from tests.tiny import NETWORK, picture, tiny_card, tiny_weights, write_tiny


@pytest.fixture
def folder(tmp_path):
    for side in ("in", "truth"):
        (tmp_path / side).mkdir()
        for index in range(3):
            picture(index + 5 * (side == "truth"), 16).save(tmp_path / side / f"{index}.png")
    write_tiny(tmp_path / "tiny.safetensors")
    return tmp_path


@pytest.fixture
def prior(folder):
    return write_tiny(
        folder / "prior.safetensors",
        task="-> test",
        path={"name": "ve"},
        kind="prior",
        concat_source=False,
        network=NETWORK | {"in_channels": 3},
        defaults={"sampler": {"name": "heun"}, "grid": {"name": "karras"}, "start": {"name": "prior"}, "steps": 4},
    )


def compare(folder, *methods, **options):
    body = {"source": str(folder / "in"), "model": str(folder / "tiny.safetensors"), "device": "cpu"}
    body |= {"methods": methods or ("dbim", "ddbm"), "outputs": (folder / "cmp.json",), "nfe": 5}
    return list(run(request(**(body | options))))


def told(folder, name="cmp.json"):
    return json.loads((folder / name).read_text())


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_it_becomes_a_page_and_tables(folder):
    outputs = tuple(folder / f"cmp.{kind}" for kind in ("html", "json", "csv", "md", "png"))
    events = compare(folder, outputs=outputs, targets=folder / "truth")
    assert [event.output for event in kinds(events, Written)] == list(outputs)
    assert isinstance(events[0], Planned) and events[0].total == 3 * 2 + 5
    assert len(kinds(events, Made)) == 6 and events[-1].failed == 0
    assert all(output.stat().st_size for output in outputs)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["in", "truth", "tiny.safetensors", *(output.name for output in outputs)]
    )


def test_equal_budgets_are_equal_calls(folder, prior, monkeypatch):
    """What the table says is what the network was asked, for every method."""
    calls = []
    forward = ADM.forward

    def spy(self, *arguments):
        calls.append(len(arguments[0]))
        return forward(self, *arguments)

    monkeypatch.setattr(ADM, "forward", spy)
    with_priors = (f"sdedit:0.5,model={prior}", f"ddib:source={prior},model={prior}")
    for method in ("default", "ddbm", "dbim", "dbim-2", "dbim-3", "ode", "sde", "euler", "pc", *with_priors):
        calls.clear()
        compare(folder, method, trajectories=0, overwrite=True)
        (row,) = told(folder)["methods"]
        assert sum(calls) == 3 * row["nfe"] and row["nfe"] <= 5, method


def test_the_scores_are_of_the_images_against_their_truth(folder):
    compare(folder, "dbim", targets=folder / "truth")
    once = told(folder)["methods"][0]["scores"]["MSE"]
    compare(folder, "dbim", targets=folder / "in", overwrite=True)
    other = told(folder)["methods"][0]["scores"]["MSE"]
    assert once.keys() == {"0.png", "1.png", "2.png"} and once != other


def test_all_images_of_a_method_are_measured_as_a_set_too(folder):
    """As `evaluate` does; of no single picture is there such a figure."""
    compare(folder, "dbim", targets=folder / "truth", nfe=2)
    translated = translate.request(
        source=str(folder / "in"), output=folder / "out", model=str(folder / "tiny.safetensors"), device="cpu",
        sampler="dbim", nfe=2, format="png",
    )  # fmt: skip
    list(translate.run(translated))
    asked = evaluate.EvaluateRequest(outputs=folder / "out", targets=folder / "truth", metrics=("swd",), device="cpu")
    (figure,) = list(evaluate.run(asked))[-1].figures
    (row,) = told(folder)["methods"]
    assert row[figure.label] == pytest.approx(figure.value) and figure.label not in row["scores"]
    assert any(figure.label in warning for warning in told(folder)["warnings"])
    compare(folder, "dbim", nfe=2, overwrite=True)
    assert figure.label not in told(folder)["methods"][0]


def test_the_same_again_is_the_same_page(folder):
    pages = []
    for name in ("a.html", "b.html"):
        compare(folder, outputs=(folder / name,), targets=folder / "truth")
        page = (folder / name).read_text()
        page = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE", page)
        page = re.sub(r'data-value="[\d.]+">\d\.\d{3}<', "SECONDS", page)
        page = re.sub(r'<section id="plots">.*?</section>', "PLOTS", page, flags=re.DOTALL)
        page = re.sub(r"\| \d\.\d{3} \||,\d\.\d{4},", "SECONDS", page).replace(name, "NAME")
        pages.append(page)
    assert pages[0] == pages[1]


def test_the_grid_has_a_column_for_each(folder):
    """Source, two methods and truth, enlarged to be seen; a method that failed leaves its column white."""
    compare(folder, "dbim", "heun:class=cat", outputs=(folder / "cmp.png",), targets=folder / "truth")
    sheet = Image.open(folder / "cmp.png")
    side, gap = 128, 4
    assert sheet.width == 4 * (side + gap) + gap
    columns = [sheet.crop((gap + k * (side + gap), 40, (k + 1) * (side + gap), sheet.height)) for k in range(4)]
    assert [min(low for low, _ in column.getextrema()) < 255 for column in columns] == [True, True, False, True]


def test_a_seed_changes_it(folder):
    made = []
    for seed in (0, 1):
        compare(folder, "dbim", targets=folder / "truth", seed=seed, overwrite=True)
        made.append(told(folder)["methods"][0]["scores"]["MSE"])
    assert made[0] != made[1]


def test_it_resumes_where_it_was_stopped(folder):
    body = {"source": str(folder / "in"), "model": str(folder / "tiny.safetensors"), "device": "cpu", "nfe": 5}
    asked = request(**body, methods=("dbim", "ddbm"), outputs=(folder / "cmp.json",), batch_size=1)
    events = run(asked)
    made = 0
    for event in events:
        made += isinstance(event, Made)
        if made == 4:
            break
    events.close()
    assert not (folder / "cmp.json").exists()
    again = list(run(asked))
    assert len(kinds(again, Evaluated)) < 3 * 5 and kinds(again, Finished)
    stopped = told(folder)
    compare(folder, batch_size=1, overwrite=True)
    for one, other in zip(stopped["methods"], told(folder)["methods"], strict=True):
        assert one["commands"] == other["commands"] and one["nfe"] == other["nfe"]


def test_a_method_that_fails_leaves_its_column_empty(folder):
    events = compare(folder, "dbim", "heun:class=cat", outputs=(folder / "cmp.json", folder / "cmp.html"))
    (failed,) = kinds(events, Failed)
    assert failed.message.startswith("heun class cat: ") and "has no classes" in failed.message
    first, broken = told(folder)["methods"]
    assert first["nfe"] == 5 and broken["error"] and events[-1].failed == 1
    assert "has no classes" in (folder / "cmp.html").read_text()


def test_an_image_that_fails_leaves_its_cell_empty(folder):
    (folder / "in" / "1.png").write_bytes(b"no picture")
    events = compare(folder, "dbim", outputs=(folder / "cmp.json", folder / "cmp.html"))
    (row,) = told(folder)["methods"]
    assert list(row["failed"]) == ["1.png"] and row["commands"].keys() == {"0.png", "2.png"}
    assert events[-1].failed == 1
    assert [event.source.name for event in kinds(events, Failed)] == ["1.png"]
    assert any("1.png cannot be read" in warning for warning in told(folder)["warnings"])
    assert "1.png" in (folder / "cmp.html").read_text()


def test_an_input_that_fails_in_every_method_is_named_once(folder):
    (folder / "in" / "1.png").write_bytes(b"no image")
    events = compare(folder, "dbim", "ddbm", targets=folder / "truth")
    assert [event.source.name for event in kinds(events, Failed)] == ["1.png"] and events[-1].failed == 1


def test_a_target_that_cannot_be_read_is_named_and_the_input_stays(folder):
    (folder / "truth" / "1.png").write_bytes(b"no image")
    events = compare(folder, "dbim", targets=folder / "truth")
    (failed,) = kinds(events, Failed)
    assert "truth" in failed.message and "1.png" in failed.message
    body = told(folder)
    assert len(body["inputs"]) == 3 and body["methods"][0]["scores"]["MSE"].keys() == {"0.png", "2.png"}


def test_one_file_is_an_input(folder):
    compare(folder, "dbim", source=str(folder / "in" / "1.png"), targets=folder / "truth" / "2.png")
    body = told(folder)
    assert [each["name"] for each in body["inputs"]] == ["1.png"]
    assert body["methods"][0]["scores"]["MSE"].keys() == {"1.png"}
    with pytest.raises(UsageError, match="one target for 3 inputs"):
        compare(folder, targets=folder / "truth" / "2.png", overwrite=True)


def test_seconds_are_turned_into_calls(folder):
    compare(folder, "dbim", nfe=None, seconds=1e-9)
    assert told(folder)["methods"][0]["nfe"] == 2  # the least: the first call boots
    compare(folder, "dbim", nfe=None, seconds=0.5, overwrite=True)
    assert told(folder)["methods"][0]["nfe"] > 2


def test_models_are_distinguished(folder):
    other = write_tiny(folder / "other.safetensors", name="other")
    compare(folder, "dbim", f"dbim:model={other}")
    assert [row["method"] for row in told(folder)["methods"]] == ["dbim, 5 NFE, tiny", "dbim, 5 NFE, other"]


def test_own_models_of_one_name_are_distinguished_by_their_place(folder):
    runs = []
    for seed, name in enumerate(("first", "second")):
        (folder / "runs" / name).mkdir(parents=True)
        file = folder / "runs" / name / "model.safetensors"
        write_model(file, tiny_card(), tiny_weights(tiny_card(), seed=seed))
        runs.append(file)
    compare(folder, *(f"dbim:model={run}" for run in runs), f"ddbm:model={runs[0]}")
    labels = [row["method"] for row in told(folder)["methods"]]
    assert labels == ["dbim, 5 NFE, tiny (first)", "dbim, 5 NFE, tiny (second)", "ddbm, 4 NFE"]


def test_one_model_by_two_names_is_recognised(folder):
    compare(folder, "dbim", f"dbim:model={folder}/in/../tiny.safetensors")
    assert [row["method"] for row in told(folder)["methods"]] == ["dbim, 5 NFE", "dbim, 5 NFE (2)"]
    assert any("identical images" in warning for warning in told(folder)["warnings"])


def test_training_images_are_named(folder):
    pictures = sorted((folder / "in").iterdir())
    known = write_tiny(folder / "known.safetensors", seen=remember(pictures[:1], pictures[1:2]))
    compare(folder, "dbim", model=str(known))
    assert [each["split"] for each in told(folder)["inputs"]] == ["training", "held out", "unknown"]
    assert "1 of 3 inputs is a training image of a model (0.png)" in told(folder)["warnings"][0]
    compare(folder, "dbim", f"dbim:model={known}", overwrite=True)
    assert [each["split"] for each in told(folder)["inputs"]] == ["training", "unknown", "unknown"]


def test_unequal_work_is_warned_of(folder):
    compare(folder, "dbim:5", "heun:9", targets=folder / "truth")
    text = " ".join(told(folder)["warnings"])
    assert "differ in network evaluations" in text and "3 images are few" in text
    compare(folder, "dbim", "dbim-2", overwrite=True)
    assert told(folder)["warnings"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("cmp.pdf",)}, "unknown kind of report"),
        ({"nfe": 5, "seconds": 1.0}, "mutually exclusive"),
        ({"source": "-"}, "standard input"),
        ({"targets": Path("nowhere")}, "nowhere: no such file or folder"),
        ({"source": "nowhere"}, "nowhere"),
        ({"methods": ("dbmi:5",)}, "unknown sampler or method 'dbmi'"),
        ({"methods": ("heun:chrun=0.3",)}, "has no field 'chrun'"),
        ({"methods": ("dbim:grid=karas",)}, "unknown grid 'karas'"),
        ({"methods": ("heun:churn=7",)}, "churn"),
        ({"methods": ("ddib",)}, "needs two priors"),
    ],
)
def test_bad_requests_are_explained(folder, options, message):
    with pytest.raises(UsageError, match=message):
        compare(folder, **options)


def test_an_output_is_not_overwritten(folder):
    compare(folder, "dbim")
    with pytest.raises(UsageError, match="already exists"):
        compare(folder, "dbim")


def test_targets_must_be_named_like_inputs(folder):
    (folder / "other").mkdir()
    picture(0).save(folder / "other" / "x.png")
    with pytest.raises(UsageError, match="no target has the name of an input"):
        compare(folder, targets=folder / "other")


def test_sdedit_is_a_method_like_any(folder, prior):
    """With a prior as its model, at several strengths; a bridge cannot do it, which costs its column."""
    compare(folder, "dbim", f"sdedit:0.2,0.6,model={prior}", f"sdedit:0.4,model={folder / 'tiny.safetensors'}")
    bridge, low, high, wrong = told(folder)["methods"]
    assert [row["method"] for row in (low, high)] == ["sdedit:0.2, 4 NFE", "sdedit:0.6, 4 NFE"]
    assert "error" not in bridge and "needs a prior" in wrong["error"]
    assert "--method sdedit --strength 0.6" in high["commands"]["0.png"]
    assert "strength 0.6 = sigma 6.1" in high["sampling"] and "sigma" not in bridge["sampling"]


def test_ddib_is_a_method_with_two_models(folder, prior):
    compare(folder, f"ddib:source={prior},model={prior}", "ddib:source=nowhere.safetensors", nfe=6)
    done, lost = told(folder)["methods"]
    assert done["method"] == "ddib, 6 NFE" and set(done["commands"]) == {"0.png", "1.png", "2.png"}
    assert f"--model {prior} " in done["commands"]["0.png"]
    assert f"--method ddib --source-model {prior}" in done["commands"]["0.png"]
    assert "nowhere.safetensors" in lost["error"]


def test_sdedit_uses_the_built_in_prior_whatever_the_common_model_is():
    (method,) = check(request(methods=("sdedit:0.4",), model="bridge.safetensors"))
    assert method.model is None and method.options() == {"method": "sdedit", "strength": 0.4}


def test_a_budget_that_a_sampler_cannot_meet_is_explained(folder):
    compare(folder, "heun", "dbim", nfe=6)
    heun, dbim = told(folder)["methods"]
    assert dbim["nfe"] == 6 and heun["nfe"] != 6
    assert any("the budget is 6" in warning and f"{heun['nfe']}" in warning for warning in told(folder)["warnings"])


def test_a_budget_that_does_not_apply_is_explained(folder):
    compare(folder, "dbim", "dbim:3", nfe=6)
    assert any("--nfe 6 does not apply to dbim, 3 NFE" in warning for warning in told(folder)["warnings"])


def test_the_table_has_the_best_of_each_metric(folder):
    (table,) = kinds(compare(folder, "dbim", "ddbm", targets=folder / "truth"), Compared)
    errors = {row["method"]: row["MSE"] for row in table.rows}
    assert table.best["MSE"] == [min(errors, key=errors.get)] and table.metrics["MSE"] is False


def stopped(folder, when, **options):
    """Start a comparison and stop it at the first event that `when` accepts; return the events until then."""
    body = {"source": str(folder / "in"), "model": str(folder / "tiny.safetensors"), "device": "cpu", "nfe": 5}
    stream = run(request(**(body | {"methods": ("dbim",)} | options)))
    events = []
    for event in stream:
        events.append(event)
        if when(event):
            break
    stream.close()
    return events


def test_stopped_between_two_outputs_it_resumes(folder):
    outputs = (folder / "cmp.json", folder / "cmp.md")
    stopped(folder, lambda event: isinstance(event, Written), outputs=outputs)
    assert outputs[0].exists() and not outputs[1].exists()
    events = compare(folder, "dbim", outputs=outputs)
    assert not kinds(events, Evaluated)[3 * 5 :] and outputs[1].exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(UsageError, match="already exists"):
        compare(folder, "dbim", outputs=outputs)


def test_stopped_between_two_outputs_another_command_does_not_overwrite(folder):
    outputs = (folder / "cmp.json", folder / "cmp.md")
    stopped(folder, lambda event: isinstance(event, Written), outputs=outputs)
    with pytest.raises(UsageError, match="already exists"):
        compare(folder, "dbim", outputs=outputs, seed=1)
    outputs[0].write_text("edited")
    with pytest.raises(UsageError, match="already exists"):
        compare(folder, "dbim", outputs=outputs)
    assert outputs[0].read_text() == "edited"


def test_two_comparisons_on_one_output_both_finish_and_nothing_is_overwritten(folder):
    body = {"source": str(folder / "in"), "model": str(folder / "tiny.safetensors"), "device": "cpu", "nfe": 5}
    asked = request(**body, methods=("dbim", "ddbm"), outputs=(folder / "cmp.json",), batch_size=1)
    first, second = run(asked), run(asked)
    for stream in (first, second):
        while not isinstance(next(stream), Made):
            pass
    written = [kinds(list(stream), Written)[0].output for stream in (first, second)]
    assert written == [folder / "cmp.json", folder / "cmp-2.json"]
    one, other = (json.loads(path.read_text()) for path in written)
    assert [row["commands"] for row in one["methods"]] == [row["commands"] for row in other["methods"]]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_an_input_that_changed_while_it_was_stopped_is_translated_again(folder):
    stopped(folder, lambda event: isinstance(event, Made), outputs=(folder / "cmp.json",), batch_size=3)
    picture(9).save(folder / "in" / "0.png")
    compare(folder, "dbim", targets=folder / "truth")
    resumed = told(folder)["methods"][0]["scores"]
    compare(folder, "dbim", targets=folder / "truth", overwrite=True)
    assert resumed == told(folder)["methods"][0]["scores"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": 1}', '["x", null, -1, NaN, 1e300, true]', "\x00", "[[1]]"])
def test_damaged_records_of_unfinished_work_are_ignored(folder, content):
    stopped(folder, lambda event: isinstance(event, Written), outputs=(folder / "cmp.json", folder / "cmp.md"))
    (hidden,) = (path for path in folder.iterdir() if path.name.startswith("."))
    for file in hidden.rglob("*.json"):
        file.write_text(content)
    compare(folder, "dbim", outputs=(folder / "cmp.json", folder / "cmp.md"), overwrite=True)
    assert told(folder)["methods"][0]["seconds"] >= 0


def test_missing_folders_of_outputs_are_created_and_others_refused_before_any_work(folder):
    compare(folder, "dbim", outputs=(folder / "new" / "deep" / "cmp.json",))
    assert (folder / "new" / "deep" / "cmp.json").exists()
    (folder / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        stopped(folder, lambda event: False, outputs=(folder / "file" / "cmp.json",))
    (folder / "cmp.html").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        compare(folder, outputs=(folder / "cmp.html",), overwrite=True)


def test_long_and_odd_names_of_outputs_work(folder):
    for name in (f"{'x' * 250}.json", "a b;c.json", os.fsdecode(b"\xff.json")):
        compare(folder, "dbim", outputs=(folder / name,), nfe=2)
        assert (folder / name).exists()


def test_outputs_among_the_inputs_are_no_inputs(folder):
    for _ in range(2):
        compare(folder, "dbim", outputs=(folder / "in" / "cmp.png", folder / "cmp.json"), overwrite=True)
        assert len(told(folder)["inputs"]) == 3


def test_notes_about_a_methods_plan_name_the_method(folder):
    notes = [event.message for event in kinds(compare(folder, "ddbm:nfe=10", "dbim:nfe=4"), Noticed)]
    about = [note for note in notes if note.startswith("ddbm")]
    assert len(about) == 1 and "leaves noise" in about[0] and "use --sampler auto" in about[0]
    assert not any(note.startswith("dbim") for note in notes)
