"""`ddbm evaluate`: pairs, sets, draws and statistics; counting; and what a broken file or record costs."""

import csv
import io
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
import torch

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.metrics import feed as feed_module
from ddbm_cli.metrics import inception
from ddbm_cli.metrics.feed import Item, Unread, feed
from ddbm_cli.metrics.statistics import read_statistics
from ddbm_cli.models.seen import remember
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.evaluate import EvaluateRequest, Noticed, Reported, run
from ddbm_cli.tasks.events import Failed
from tests.tiny import picture, write_tiny

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


def test_the_table_has_a_line_for_each_image(folders):
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


def test_images_of_many_sizes_do_not_pile_up(tmp_path):
    items = []
    for index in range(60):
        picture(0, 16 + index).save(tmp_path / f"{index}.png")
        items.append(Item(name=str(index), output=tmp_path / f"{index}.png"))
    seen = [part for part in feed(items, batch_size=2, device=torch.device("cpu")) if not isinstance(part, Unread)]
    assert sorted(int(place) for batch in seen for place in batch.index) == list(range(60))
    first = [int(batch.index[0]) for batch in seen]
    assert first[0] < 12


def sets(root, outputs=6, targets=9):
    """Two folders whose names and numbers differ."""
    for side, count, start in (("samples", outputs, 0), ("photos", targets, 40)):
        (root / side).mkdir()
        for index in range(count):
            picture(index + start, 24).save(root / side / f"{side}-{index}.png")
    return root


def test_sets_of_unequal_names_and_numbers_are_compared(tmp_path):
    root = sets(tmp_path)
    report, events = evaluate(root, "samples", "photos", metrics=None)
    assert [figure.name for figure in report.figures] == ["swd"]
    assert report.pictures == 6 and report.figures[0].value > 0 and report.figures[0].count == 6
    assert any("compared as sets" in notice.message for notice in of(events, Noticed))
    same, _ = evaluate(root, "photos", "photos", metrics=("swd",), unpaired=True)
    assert value(same, "swd") == pytest.approx(0, abs=1e-6)


def test_sets_do_not_depend_on_names(tmp_path):
    root = sets(tmp_path)
    first = value(evaluate(root, "samples", "photos", metrics=("swd",))[0], "swd")
    for index in range(6):
        (root / "samples" / f"samples-{index}.png").rename(root / "samples" / f"photos-{index}.png")
    paired = value(evaluate(root, "samples", "photos", metrics=("swd",))[0], "swd")
    again = value(evaluate(root, "samples", "photos", metrics=("swd",), unpaired=True)[0], "swd")
    assert again == first and paired != first


def test_a_metric_of_pairs_is_not_computed_from_sets(tmp_path):
    root = sets(tmp_path)
    with pytest.raises(UsageError, match="has a partner"):
        evaluate(root, "samples", "photos", metrics=("mse", "swd"))
    with pytest.raises(UsageError, match="metric 'mse' needs pairs"):
        evaluate(root, "samples", "photos", metrics=("mse",), unpaired=True)


def test_sets_of_two_sizes_are_resized_on_request(tmp_path):
    root = sets(tmp_path)
    for index in range(9):
        picture(index + 40, 48).save(root / "photos" / f"photos-{index}.png")
    small = value(evaluate(root, "samples", "photos", metrics=("swd",), resize="targets")[0], "swd")
    large = value(evaluate(root, "samples", "photos", metrics=("swd",), resize="outputs")[0], "swd")
    assert small != large


def test_a_broken_target_of_a_set_is_reported(tmp_path):
    root = sets(tmp_path)
    (root / "photos" / "photos-3.png").write_bytes(b"no image")
    report, events = evaluate(root, "samples", "photos", metrics=("swd",))
    assert report.failed == 1 and report.pictures == 6
    assert [event.source.name for event in of(events, Failed)] == ["photos-3.png"]


class FakeNetwork:
    """Features without a network: the pixels' mean in the first place."""

    def __init__(self, *given, **named):
        pass

    def __call__(self, images):
        features = torch.zeros(len(images), inception.FEATURES)
        features[:, 0] = images.float().mean((1, 2, 3))
        return features, torch.zeros(len(images), 1008)


@pytest.fixture
def fid(monkeypatch):
    """FID without its network; the distance is that of the means alone."""
    module = ModuleType("torch_fidelity.metric_fid")
    module.fid_statistics_to_metric = lambda one, other, verbose: {
        "frechet_inception_distance": float(np.square(one["mu"] - other["mu"]).sum())
    }
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_fid", module)
    monkeypatch.setattr(inception, "Network", FakeNetwork)


def statistics(path, **changes):
    size = inception.FEATURES
    np.savez(path, **({"mu": np.zeros(size), "sigma": np.eye(size, dtype=np.float32)} | changes))
    return path


def test_fid_against_a_statistics_file(tmp_path, fid):
    root = sets(tmp_path)
    statistics(root / "reference.npz")
    mean = np.mean([np.asarray(picture(index, 24)).mean() for index in range(6)])
    for metrics in (("fid",), None):
        report, _ = evaluate(root, "samples", "reference.npz", metrics=metrics)
        assert report.figures[0].name == "fid" and report.figures[0].value == pytest.approx(mean**2, rel=1e-5)
        assert report.pictures == 6
    with pytest.raises(UsageError, match="needs the targets, not their statistics"):
        evaluate(root, "samples", "reference.npz", metrics=("swd",))


def pickled(path):
    np.savez(path, mu=np.array([print], dtype=object), sigma=np.zeros((2, 2)))


def claims(path):
    """A header that declares the right array for the wrong number of bytes, and a huge one."""
    body = io.BytesIO()
    np.lib.format.write_array_header_1_0(body, {"descr": "<f8", "fortran_order": False, "shape": (inception.FEATURES,)})
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mu.npy", body.getvalue() if path.stem == "short" else huge.getvalue())


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("text", lambda path: path.write_text("no archive"), "not a zip file"),
        ("empty", lambda path: path.write_bytes(b""), "not a zip file"),
        ("other", lambda path: np.savez(path, arr_0=np.zeros(3)), "no array 'mu'"),
        ("shape", lambda path: statistics(path, mu=np.zeros(7)), "shape"),
        ("words", lambda path: statistics(path, mu=np.full(inception.FEATURES, "x")), "shape"),
        ("nan", lambda path: statistics(path, mu=np.full(inception.FEATURES, np.nan)), "NaN"),
        ("pickle", pickled, "object"),
        ("short", claims, "cut off"),
        ("huge", claims, "shape"),
        ("cut", lambda path: path.write_bytes(statistics(path).read_bytes()[:5000]), "not a zip file"),
    ],
)
def test_a_damaged_statistics_file_is_one_line(tmp_path, name, write, reason):
    path = tmp_path / f"{name}.npz"
    write(path)
    with pytest.raises(UsageError, match="no statistics of a set of images") as error:
        read_statistics(path, inception.FEATURES)
    assert reason in error.value.message and "\n" not in error.value.message


def test_a_missing_statistics_file_is_an_error(folders):
    with pytest.raises(UsageError, match=r"none\.npz"):
        evaluate(folders, targets="none.npz", metrics=("fid",))


def test_draws_in_the_layout_of_sample_are_understood(tmp_path):
    for source in ("a", "b"):
        (tmp_path / "draws" / source).mkdir(parents=True)
        for number in range(3 if source == "a" else 2):
            picture(number + 7 * (source == "b"), 24).save(tmp_path / "draws" / source / f"{number:03d}.png")
    (tmp_path / "truth").mkdir()
    for source in ("a", "b"):
        picture(0, 24).save(tmp_path / "truth" / f"{source}.png")
    request = EvaluateRequest(outputs=tmp_path / "draws", metrics=("diversity",), device="cpu")
    report = list(run(request))[-1]
    assert report.pictures == 2 and report.figures[0].value > 0
    report, _ = evaluate(tmp_path, "draws", "truth", metrics=("mse", "diversity"))
    assert report.pictures == 2 and value(report, "mse") >= 0 and value(report, "diversity") > 0


def test_numbered_images_of_classes_are_pairs_and_not_draws(tmp_path):
    for side, shift in (("out", 1), ("truth", 0)):
        for folder in ("cat", "dog"):
            (tmp_path / side / folder).mkdir(parents=True)
            for number in range(2):
                picture(number + shift, 24).save(tmp_path / side / folder / f"{number:03d}.png")
    report, _ = evaluate(tmp_path, metrics=("mse",))
    assert report.pictures == 4


def test_training_images_are_named(tmp_path):
    for side in ("in", "truth"):
        (tmp_path / side).mkdir()
        for index in range(3):
            picture(index + 5 * (side == "truth"), 16).save(tmp_path / side / f"{index}.png")
    files = [tmp_path / "in" / "0.png", tmp_path / "truth" / "0.png", tmp_path / "truth" / "1.png"]
    model = write_tiny(tmp_path / "tiny.safetensors", seen=remember(files, []))
    request = translate.request(
        source=str(tmp_path / "in"), output=tmp_path / "out", model=str(model), device="cpu", nfe=2
    )
    list(translate.run(request))
    _, events = evaluate(tmp_path, metrics=("mse",))
    said = [(notice.message, [name.rsplit("/", 1)[1] for name in notice.names]) for notice in of(events, Noticed)]
    assert said == [
        ("1 outputs are of training images of model 'tiny': their scores are too good", ["0.png"]),
        ("2 targets are training images of model 'tiny': their scores are too good", ["0.png", "1.png"]),
    ]


@pytest.mark.parametrize(
    "record",
    [
        '{"sampler": {"name": 1}, "grid": {"name": 2}, "model": [], "model_sha256": {}, "source_sha256": 5}',
        '{"sampler": {"name": "a"}, "grid": {"name": "b"}, "model": "tiny", "model_sha256": "../../x"}',
        "[" * 50_000,
        "null",
        "{}",
        '{"sampler": 1}',
    ],
)
def test_damaged_records_cost_nothing(folders, record):
    from PIL.PngImagePlugin import PngInfo

    facts = PngInfo()
    facts.add_itxt("ddbm", record)
    picture(1, 16).save(folders / "out" / "0.png", pnginfo=facts)
    report, _ = evaluate(folders)
    assert (report.pictures, report.failed) == (4, 0)


def test_a_table_of_somebody_else_is_not_overwritten(folders):
    table = folders / "scores.csv"
    table.write_text("date,price\n")
    with pytest.raises(UsageError, match="already exists"):
        evaluate(folders, per_image=table)
    assert table.read_text() == "date,price\n"
    evaluate(folders, per_image=table, overwrite=True)
    evaluate(folders, per_image=table)
    assert table.read_text().startswith("name,mse")


def test_images_that_wait_for_their_batch_are_bounded(tmp_path, monkeypatch):
    items = []
    for index in range(40):
        picture(index, 64 if index % 5 else 16).save(tmp_path / f"{index}.png")
        items.append(Item(name=str(index), output=tmp_path / f"{index}.png", target=tmp_path / f"{index}.png"))
    each = 2 * 3 * 64 * 64
    monkeypatch.setattr(feed_module, "MOST_BYTES", 3 * each)
    held, most, read, batch = [0], [0], feed_module._read, feed_module._batch

    def reads(item, place, *others):
        found = read(item, place, *others)
        held[0] += 2 * found.output.numel()
        most[0] = max(most[0], held[0])
        return found

    def batches(reads, device):
        held[0] -= sum(2 * one.output.numel() for one in reads)
        return batch(reads, device)

    monkeypatch.setattr(feed_module, "_read", reads)
    monkeypatch.setattr(feed_module, "_batch", batches)
    seen = list(feed(items, batch_size=8, device=torch.device("cpu")))
    assert sorted(int(place) for batch in seen for place in batch.index) == list(range(40))
    assert most[0] <= 3 * each and held[0] == 0


def test_an_image_larger_than_all_the_room_is_measured_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(feed_module, "MOST_BYTES", 1)
    items = []
    for index in range(3):
        picture(index, 16).save(tmp_path / f"{index}.png")
        items.append(Item(name=str(index), output=tmp_path / f"{index}.png"))
    seen = list(feed(items, batch_size=8, device=torch.device("cpu")))
    assert [batch.index.tolist() for batch in seen] == [[0], [1], [2]]
