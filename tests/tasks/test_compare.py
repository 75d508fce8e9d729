"""Comparing: equal budgets are equal work, the same again is the same page, and what fails costs its own column."""

import json
import re

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.splits import remember
from ddbm_cli.networks import ADM
from ddbm_cli.tasks import evaluate, translate
from ddbm_cli.tasks.compare import request, run
from ddbm_cli.tasks.events import Evaluated, Failed, Finished, Made, Planned, Written
from tests.tiny import NETWORK, picture, write_tiny


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


def test_the_scores_are_of_the_pictures_against_their_truth(folder):
    compare(folder, "dbim", targets=folder / "truth")
    once = told(folder)["methods"][0]["scores"]["MSE"]
    compare(folder, "dbim", targets=folder / "in", overwrite=True)
    other = told(folder)["methods"][0]["scores"]["MSE"]
    assert once.keys() == {"0.png", "1.png", "2.png"} and once != other


def test_all_pictures_of_a_method_are_measured_as_a_set_too(folder):
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
        page = re.sub(r'<section class="plots">.*?</section>', "PLOTS", page, flags=re.DOTALL)
        pages.append(page)
    assert pages[0] == pages[1]


def test_the_grid_has_a_column_for_each(folder):
    """Source, two methods and truth, enlarged to be seen; a method that failed leaves its column white."""
    compare(folder, "dbim", "nonsense", outputs=(folder / "cmp.png",), targets=folder / "truth")
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


def test_it_goes_on_where_it_was_stopped(folder):
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


def test_a_method_that_fails_costs_its_column(folder):
    events = compare(folder, "dbim", "heun:1", "nonsense", outputs=(folder / "cmp.json", folder / "cmp.html"))
    assert [event.message for event in kinds(events, Failed)] == [
        "heun: 1 evaluations are too few for sampler 'heun'",
        "nonsense: unknown sampler 'nonsense'",
    ]
    first, *broken = told(folder)["methods"]
    assert first["nfe"] == 5 and all(row["error"] for row in broken) and events[-1].failed == 2
    assert "too few for sampler" in (folder / "cmp.html").read_text()


def test_a_picture_that_fails_costs_its_cell(folder):
    (folder / "in" / "1.png").write_bytes(b"no picture")
    events = compare(folder, "dbim", outputs=(folder / "cmp.json", folder / "cmp.html"))
    (row,) = told(folder)["methods"]
    assert list(row["failed"]) == ["1.png"] and row["commands"].keys() == {"0.png", "2.png"}
    assert events[-1].failed == 1


def test_seconds_are_turned_into_calls(folder):
    compare(folder, "dbim", nfe=None, seconds=1e-9)
    assert told(folder)["methods"][0]["nfe"] == 2  # the least: the first call boots
    compare(folder, "dbim", nfe=None, seconds=0.5, overwrite=True)
    assert told(folder)["methods"][0]["nfe"] > 2


def test_models_are_told_apart(folder):
    other = write_tiny(folder / "other.safetensors", name="other")
    compare(folder, "dbim", f"dbim:model={other}")
    assert [row["method"] for row in told(folder)["methods"]] == ["dbim, 5 NFE, tiny", "dbim, 5 NFE, other"]


def test_training_pictures_are_told(folder):
    pictures = sorted((folder / "in").iterdir())
    known = write_tiny(folder / "known.safetensors", splits=remember(pictures[:1], pictures[1:2]))
    compare(folder, "dbim", model=str(known))
    assert [each["split"] for each in told(folder)["inputs"]] == ["training", "held out", "unknown"]
    assert "1 of 3 inputs are training pictures" in told(folder)["warnings"][0]
    compare(folder, "dbim", f"dbim:model={known}", overwrite=True)
    assert [each["split"] for each in told(folder)["inputs"]] == ["training", "unknown", "unknown"]


def test_unequal_work_is_warned_of(folder):
    compare(folder, "dbim:5", "heun:9", targets=folder / "truth")
    text = " ".join(told(folder)["warnings"])
    assert "differ in network evaluations" in text and "3 pictures are few" in text
    compare(folder, "dbim", "dbim-2", overwrite=True)
    assert told(folder)["warnings"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("cmp.pdf",)}, "unknown kind of report"),
        ({"nfe": 5, "seconds": 1.0}, "mutually exclusive"),
        ({"source": "-"}, "standard input"),
        ({"targets": "nowhere"}, "no such folder"),
        ({"source": "nowhere"}, "nowhere"),
    ],
)
def test_bad_requests_are_explained(folder, options, message):
    with pytest.raises(UsageError, match=message):
        compare(folder, **options)


def test_an_output_is_not_overwritten(folder):
    compare(folder, "dbim")
    with pytest.raises(UsageError, match="is there already"):
        compare(folder, "dbim")


def test_targets_must_be_named_like_inputs(folder):
    (folder / "other").mkdir()
    picture(0).save(folder / "other" / "x.png")
    with pytest.raises(UsageError, match="no picture is named like an input"):
        compare(folder, targets=folder / "other")


def test_sdedit_is_a_method_like_any(folder, prior):
    """With a prior as its model, at several strengths; a bridge cannot do it, which costs its column."""
    compare(folder, "dbim", f"sdedit:0.2,0.6,model={prior}", f"sdedit:0.4,model={folder / 'tiny.safetensors'}")
    bridge, low, high, wrong = told(folder)["methods"]
    assert [row["method"] for row in (low, high)] == ["sdedit:0.2, 5 NFE", "sdedit:0.6, 5 NFE"]
    assert "error" not in bridge and "needs a prior" in wrong["error"]
    assert "--method sdedit --strength 0.6" in high["commands"]["0.png"]
    assert "strength 0.6 = sigma 6.1" in high["sampling"] and "sigma" not in bridge["sampling"]


def test_ddib_is_a_method_with_two_models(folder, prior):
    compare(folder, f"ddib:source={prior},model={prior}", "ddib", "ddib:source=nowhere.safetensors", nfe=6)
    done, alone, lost = told(folder)["methods"]
    assert done["method"] == "ddib, 6 NFE" and set(done["commands"]) == {"0.png", "1.png", "2.png"}
    assert f"--model {prior} " in done["commands"]["0.png"]
    assert f"--method ddib --source-model {prior}" in done["commands"]["0.png"]
    assert "needs two priors" in alone["error"] and "no such model file" in lost["error"]
