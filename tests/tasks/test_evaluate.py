"""Laws of `ddbm evaluate`: pairing, counting, and what a bad file costs."""

import csv

import pytest
import torch

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.metrics import feed as feed_module
from ddbm_cli.metrics.feed import Item, Unread, feed
from ddbm_cli.tasks.evaluate import EvaluateRequest, Noticed, Reported, run
from ddbm_cli.tasks.events import Failed
from tests.tiny import picture

BARE = ("mse", "l1", "psnr")


@pytest.fixture
def folders(tmp_path):
    """Outputs and targets, the first with a sub-folder; no two pictures are alike."""
    for side, shift in (("out", 1), ("truth", 0)):
        (tmp_path / side / "deep").mkdir(parents=True)
        for index in range(4):
            name = f"deep/{index}" if index > 2 else str(index)
            picture(index + shift, 16).save(tmp_path / side / f"{name}.{'png' if shift else 'bmp'}")
    return tmp_path


def evaluate(root, outputs="out", targets="truth", **options):
    """Run the task; return its report and all other events."""
    options.setdefault("metrics", BARE)
    request = EvaluateRequest(outputs=root / outputs, targets=root / targets, device="cpu", **options)
    *events, last = run(request)
    assert isinstance(last, Reported)
    return last, events


def value(report, name="mse"):
    return next(figure.value for figure in report.figures if figure.name == name)


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_pairs_are_found_by_their_path_without_the_extension(folders):
    report, _ = evaluate(folders)
    assert (report.pictures, report.failed, report.missing, report.odd) == (4, 0, 0, 0)
    assert [figure.name for figure in report.figures] == list(BARE)
    assert all(figure.count == 4 and figure.low < figure.value < figure.high for figure in report.figures)


def test_the_value_is_the_mean_of_the_files(folders):
    alone = [evaluate(folders, f"out/{name}.png", f"truth/{name}.bmp")[0] for name in ("0", "1", "2", "deep/3")]
    together = evaluate(folders)[0]
    assert value(together) == pytest.approx(sum(map(value, alone)) / 4)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_change_nothing(folders, batch_size):
    picture(9, 20).save(folders / "out" / "large.png")
    picture(8, 20).save(folders / "truth" / "large.png")
    assert value(evaluate(folders, batch_size=batch_size)[0]) == pytest.approx(value(evaluate(folders)[0]))


def test_the_missing_and_the_odd_are_counted_and_named(folders):
    (folders / "out" / "1.png").unlink()
    (folders / "truth" / "2.bmp").unlink()
    picture(5).save(folders / "out" / "0.webp")
    report, events = evaluate(folders)
    assert (report.pictures, report.missing, report.odd) == (2, 1, 1)
    named = [name for notice in of(events, Noticed) for name in notice.names]
    assert {name.rsplit("/", 1)[1] for name in named} >= {"1.bmp", "2.png"} and len(named) == 3


def test_a_broken_file_and_another_size_cost_only_themselves(folders):
    (folders / "out" / "0.png").write_bytes(b"no picture")
    picture(1, 32).save(folders / "truth" / "1.bmp")
    report, events = evaluate(folders)
    failed = of(events, Failed)
    assert (report.pictures, report.failed) == (2, 2)
    assert "--resize" in next(event.hint for event in failed if "32x32" in event.message)


@pytest.mark.parametrize("side", ["outputs", "targets"])
def test_sizes_are_made_alike_on_request(folders, side):
    for name in ("0", "1", "2", "deep/3"):
        picture(3, 32).save(folders / "truth" / f"{name}.bmp")
    report, _ = evaluate(folders, resize=side)
    assert (report.pictures, report.failed) == (4, 0)


def test_the_table_has_a_line_for_each_picture(folders):
    (folders / "out" / "0.png").write_bytes(b"no picture")
    report, _ = evaluate(folders, per_image=folders / "scores.csv")
    rows = list(csv.DictReader((folders / "scores.csv").open()))
    assert [row["name"] for row in rows] == ["1", "2", "deep/3"]
    assert sum(float(row["mse"]) for row in rows) / 3 == pytest.approx(value(report), rel=1e-6)


def test_transparency_shows_white_paper(folders):
    picture(0).convert("RGBA").save(folders / "a.png")
    clear = picture(0).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 16, 1))
    clear.save(folders / "b.png")
    assert value(evaluate(folders, "a.png", "b.png")[0]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": ("beauty",)}, "unknown metric"),
        ({"targets": "nowhere"}, "no such file or folder"),
        ({"targets": "empty"}, "no images"),
        ({"targets": "strangers"}, "has a partner"),
    ],
)
def test_what_cannot_be_measured_is_said_first(folders, options, said):
    (folders / "empty").mkdir()
    (folders / "strangers").mkdir()
    picture(0).save(folders / "strangers" / "x.png")
    with pytest.raises(UsageError, match=said):
        evaluate(folders, **options)


def test_without_targets_a_metric_that_needs_them_is_an_error(folders):
    with pytest.raises(UsageError, match="needs targets"):
        list(run(EvaluateRequest(outputs=folders / "out", metrics=("mse",))))


def test_a_table_that_cannot_be_written_is_an_error(folders):
    with pytest.raises(ImageError, match="cannot be written"):
        evaluate(folders, per_image=folders / "none" / "scores.csv")


def test_what_is_read_ahead_is_bounded(folders, monkeypatch):
    """However slow the metrics, only some batches lie ready."""
    begun = []
    inner = feed_module._read
    monkeypatch.setattr(feed_module, "_read", lambda *given: begun.append(1) or inner(*given))
    items = [Item(name=str(index), output=folders / "out" / "0.png") for index in range(200)]
    stream = feed(items, batch_size=4, device=torch.device("cpu"))
    next(stream)
    assert len(begun) <= 4 * (feed_module.AHEAD + 1)
    stream.close()


def test_pictures_of_many_sizes_do_not_pile_up(tmp_path):
    items = []
    for index in range(60):
        picture(0, 16 + index).save(tmp_path / f"{index}.png")
        items.append(Item(name=str(index), output=tmp_path / f"{index}.png"))
    seen = [part for part in feed(items, batch_size=2, device=torch.device("cpu")) if not isinstance(part, Unread)]
    assert sorted(int(place) for batch in seen for place in batch.index) == list(range(60))
    first = [int(batch.index[0]) for batch in seen]
    assert first[0] < 12
