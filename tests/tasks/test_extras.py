"""Files next to the results: maps, sheets, animations, strips and steps, of both commands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models.load import load_file
from ddbm_cli.samplers import NoiseSource
from ddbm_cli.tasks import sample, translate
from ddbm_cli.tasks.events import Failed, Kept, Written
from ddbm_cli.tasks.recorder import MOST, spaced
from ddbm_cli.tasks.sweep import sweep
from ddbm_cli.tasks.trajectory import Beside
from tests.tasks.test_sample import PRIOR
from tests.tasks.test_translate import kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_file(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"), device="cpu")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index, 24).save(tmp_path / "in" / f"{index}.png")
    return tmp_path


def made(root, model, output="out", **options):
    given = {"source": str(root / "in"), "output": root / output}
    return list(translate.run(translate.request(**given | options), model=model))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frames(file):
    with Image.open(file) as found:
        shown = []
        for number in range(found.n_frames):
            found.seek(number)
            shown.append(np.asarray(found.convert("RGB"), dtype=int))
        return shown


EVERY = {"gif": True, "strip": True}


def test_results_are_the_same_with_and_without_their_trajectories(root, model):
    made(root, model, "plain", sampler="sde", nfe=5)
    made(root, model, sampler="sde", nfe=5, steps_dir=root / "steps", sheet=root / "sheet.png", **EVERY)
    plain, out = files(root / "plain"), files(root / "out")
    assert {name: out[name] for name in plain} == plain
    extra = [f"{index}{end}" for index in range(3) for end in ("-steps.gif", "-strip.png")]
    assert sorted(out.keys() - plain.keys()) == sorted(extra)
    assert len(files(root / "steps")) == 3 * 2 * 5 and "2/004-estimate.png" in files(root / "steps")
    # two columns in four groups across, a gap of 2
    assert Image.open(root / "sheet.png").size == (3 * 38 + 2, 18 + 2)


def test_a_trajectory_begins_at_the_source_and_ends_at_the_result(root, model):
    made(root, model, steps_dir=root / "steps", strip=True, gif=True, steps=3)
    shown = frames(root / "out" / "1-steps.gif")
    assert len(shown) == 4 + 1  # a booted start evaluates once more than there are steps
    result = np.asarray(open_picture(root / "out" / "1.png"), dtype=int)
    assert np.abs(shown[-1] - result).max() <= 24  # 256 colours
    first = np.asarray(open_picture(root / "steps" / "1" / "000-state.png"), dtype=int)
    source = np.asarray(open_picture(root / "in" / "1.png").resize((16, 16)), dtype=int)
    assert np.abs(first - source).mean() < np.abs(first - result).mean()
    strip = Image.open(root / "out" / "1-strip.png")
    assert strip.size == (4 * 20 + 2, 2 * 18 + 2)
    last = np.asarray(open_picture(root / "steps" / "1" / "003-estimate.png"), dtype=int)
    assert np.array_equal(np.asarray(strip)[20:36, strip.width - 20 : strip.width - 4], last)


def test_files_that_are_missing_are_made_for_outputs_that_exist(root, model):
    made(root, model)
    before = files(root / "out")
    events = made(root, model, gif=True)
    assert len(kinds(events, Kept)) == 3 and not kinds(events, Written)
    after = files(root / "out")
    assert {name: after[name] for name in before} == before and len(after) == 6
    (root / "out" / "1-steps.gif").unlink()
    made(root, model, gif=True)
    assert files(root / "out") == after
    made(root, model, gif=True, seed=1)  # of other settings: nothing is mixed
    assert files(root / "out") == after
    made(root, model, gif=True, strip=True, overwrite=True, seed=1, sampler="sde")
    assert files(root / "out")["1-steps.gif"] != after["1-steps.gif"]


def test_steps_of_an_earlier_run_are_removed_and_other_files_are_not(root, model):
    (root / "steps" / "0").mkdir(parents=True)
    picture(5).save(root / "steps" / "0" / "099-state.png")
    made(root, model, steps_dir=root / "steps", sampler="sde", nfe=9)
    made(root, model, steps_dir=root / "steps", sampler="sde", nfe=3, overwrite=True)
    kept = sorted(path.name for path in (root / "steps" / "0").iterdir())
    assert kept == [*(f"00{n}-{side}.png" for n in range(3) for side in ("estimate", "state")), "099-state.png"]


def test_maps_show_how_the_draws_of_an_input_differ(root, model):
    made(root, model, number=3, sampler="sde", spread=True, sheet=root / "sheet.png", keep_size=True)
    draws = [np.asarray(open_picture(root / "out" / f"1_{n:03d}.png"), float) for n in range(3)]
    wanted = (np.stack(draws).std(0) / 127.5).mean(-1) * 2 * 255
    found = np.asarray(open_picture(root / "out" / "1-spread.png").convert("L"), float)
    assert found.shape == (24, 24) and found.max() > 0
    assert np.abs(found - wanted.clip(0, 255)).max() <= 1.5
    assert Image.open(root / "sheet.png").size == (5 * 18 + 4, 3 * 18 + 2)


def test_objects_of_a_drawing_move_together(tmp_path, model):
    """Every frame of a page with two drawings has the size of the result."""
    from tests.imaging.drawings import six

    six().save(tmp_path / "page.png")
    request = translate.request(
        source=str(tmp_path / "page.png"), output=tmp_path / "out.png", prepare="sketch", gif=True, steps=2
    )
    list(translate.run(request, model=model))
    assert {frame.shape for frame in frames(tmp_path / "out-steps.gif")} == {
        np.asarray(open_picture(tmp_path / "out.png")).shape
    }


def test_no_two_files_have_one_name(root, model, tmp_path):
    beside = Beside([tmp_path / name for name in ("a.png", "a.jpg", "b.png", "b-strip.png", "c.png")])
    assert beside(tmp_path / "a.png", "-strip.png").name == "a.png-strip.png"
    assert beside(tmp_path / "a.jpg", "-strip.png").name == "a.jpg-strip.png"
    assert beside(tmp_path / "b.png", "-strip.png").name == "b.png-strip.png"
    assert beside(tmp_path / "c.png", "-strip.png").name == "c-strip.png"
    picture(0, 24).convert("RGB").save(root / "in" / "1.jpg")
    picture(3, 24).save(root / "in" / "0-strip.png")
    made(root, model, strip=True, number=2, sampler="sde", spread=True)
    names = {*files(root / "out")}
    assert len(names) == 5 * 2 * 2 + 5


def test_a_file_of_another_program_is_not_replaced(root, model):
    (root / "out").mkdir()
    for name in ("0-strip.png", "0-steps.gif"):
        picture(1).save(root / "out" / name)
        option = {"strip" if name.endswith("png") else "gif": True}
        with pytest.raises(UsageError, match="was not written by ddbm"):
            made(root, model, **option)
    picture(1).save(root / "sheet.png")
    with pytest.raises(UsageError, match="was not written by ddbm"):
        made(root, model, sheet=root / "sheet.png")
    made(root, model, sheet=root / "sheet.png", overwrite=True, **EVERY)
    made(root, model, sheet=root / "sheet.png", **EVERY)  # its own files are


def test_samples_have_trajectories_too(root, model, tmp_path):
    prior = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    list(sample.run(sample.request(output=root / "noise", number=2, model=prior, gif=True, strip=True, nfe=4)))
    assert len(frames(root / "noise" / "000001-steps.gif")) >= 4  # equal frames are one
    given = {"source": str(root / "in"), "output": root / "draws", "number": 2}
    asked = sample.request(**given, interpolate=1, steps_dir=root / "steps", strip=True, spread=True)
    list(sample.run(asked, model=model))
    assert (root / "draws" / "1" / "000_1-strip.png").exists() and (root / "draws" / "1-spread.png").exists()
    assert (root / "steps" / "1" / "000_1" / "000-state.png").exists()
    with pytest.raises(UsageError, match="do not go with --encode"):
        list(sample.run(sample.request(**given, sampler="dbim", encode=root / "in", gif=True), model=model))


def test_what_cannot_be_done_is_explained(root, model):
    with pytest.raises(UsageError, match="--spread needs several draws"):
        made(root, model, spread=True)
    with pytest.raises(UsageError, match="--gif needs an output that is a file"):
        list(
            translate.run(translate.request(source=str(root / "in" / "0.png"), output=Path("-"), gif=True), model=model)
        )


def test_a_batch_that_does_not_fit_into_memory_is_recorded_once(root, model, monkeypatch):
    real, calls = NoiseSource.__call__, [0]

    def fails(self, like):
        calls[0] += 1
        if calls[0] == 1:
            raise RuntimeError("out of memory")
        return real(self, like)

    monkeypatch.setattr(NoiseSource, "__call__", fails)
    events = made(root, model, gif=True, batch_size=3, steps=2)
    assert not kinds(events, Failed) and len(frames(root / "out" / "2-steps.gif")) == 4


def test_each_strength_has_files_of_its_own(root, tmp_path):
    prior = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    given = {"source": str(root / "in"), "output": root / "out", "model": prior, "method": "sdedit", "device": "cpu"}
    asked = translate.request(**given, steps=2, sheet=root / "sheet.png", steps_dir=root / "steps")
    list(sweep(asked, [0.3, 0.6]))
    assert (root / "sheet-strength-0_3.png").exists() and (root / "sheet-strength-0_6.png").exists()
    assert (root / "steps" / "strength-0_6" / "0" / "000-state.png").exists()


def test_preview_says_why_it_shows_nothing(root, ddbm, tmp_path):
    model = write_tiny(tmp_path / "tiny.safetensors")
    for words in (["translate", root / "in", root / "out"], ["sample", root / "in", "-n", "1", "-o", root / "draws"]):
        code, _, err = ddbm(*words, "-m", model, "--preview", "-d", "cpu")
        assert code == 0 and "--preview shows nothing: standard error is not a terminal" in err, err


@pytest.mark.slow
def test_preview_shows_results_above_the_bars(root, tmp_path):
    from tests.cli.shells import on_a_terminal
    from tests.cli.test_preview import BLOCK, COLOURS

    model = write_tiny(tmp_path / "tiny.safetensors")
    words = ["translate", root / "in", root / "out", "-m", model, "--preview", "-d", "cpu"]
    code, _, screen = on_a_terminal(words, environment=COLOURS)
    assert code == 0 and screen.count(BLOCK) > 3 * 20, screen


def test_spaced_keeps_the_ends():
    assert spaced(3, 60) == [1, 2, 3] and spaced(1, 12) == [1]
    assert len(spaced(1000, MOST)) == MOST and spaced(1000, MOST)[::59] == [1, 1000]
