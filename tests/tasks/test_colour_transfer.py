"""--method colour-transfer: exact means and covariances, without a model."""

import itertools
import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.codecs.colour import COLOUR_SPACES, Opponent, Patches
from ddbm_cli.foundation.events import Noticed, Surveying
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.colour_transfer import Colours, ColourTransfer, Moments, as_colours, between, survey
from ddbm_cli.paths import RectifiedFlow
from ddbm_cli.paths.gaussian import Gaussian, GaussianBridge
from ddbm_cli.registry.locate import finish
from ddbm_cli.samplers import finish as sampled
from ddbm_cli.tasks.translate import request, run
from tests import forked

SPECS = ["opponent", "rgb", "patches:side=2,components=0", "patches:side=4,components=9"]
TRANSFER = ("--method", "colour-transfer")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two folders of smooth coloured noise, of different sizes, all multiples of 4."""
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for side, colour in (("a", (150, 120, 90)), ("b", (100, 120, 150))):
        (root / side).mkdir()
        mix = random.normal(size=(3, 3))
        for index in range(3):
            small = random.normal(size=(5 + index, 8, 3)) @ mix * 9 + np.array(colour)
            grain = random.normal(size=(20 + 4 * index, 32, 3)) * 4
            pixels = np.kron(small, np.ones((4, 4, 1))) + grain
            Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(root / side / f"{index}.png")
    return root


def files(folder):
    return sorted(folder.iterdir())


def transfer(root, spec) -> ColourTransfer:
    space = build(COLOUR_SPACES, spec, what="colour space")
    source, target = (finish(survey(files(root / side), space, folder=side)) for side in "ab")
    return ColourTransfer(space, source, target)


def moved(model, file, **plan):
    image = as_colours(Image.open(file))[0]
    whole = model.plan(**{key: value for key, value in plan.items() if key != "strength"})
    return sampled(model.translate(image[None], torch.zeros_like, whole.stopped_at(plan.get("strength"))))[0]


@pytest.mark.parametrize("spec", SPECS)
def test_mean_and_covariance_of_the_result_are_those_of_the_target(root, spec):
    model, found = transfer(root, spec), Moments()
    for file in files(root / "a"):
        points = model.space.encode(moved(model, file).double())
        found.add(points.flatten(1), torch.ones(points[0].numel(), dtype=torch.float64))
    made, source, target = found.gaussian, model.source.gaussian, model.target.gaussian
    apart = target.mean - source.mean
    basis = model.space.basis((source.covariance + target.covariance) / 2 + apart.outer(apart) / 4)
    inside = torch.eye(len(apart), dtype=torch.float64) if basis is None else basis
    assert (inside.T @ (made.mean - target.mean)).abs().max() < 1e-6
    assert (inside.T @ (made.covariance - target.covariance) @ inside).abs().max() < 1e-6
    rest = torch.eye(len(apart), dtype=torch.float64) - inside @ inside.T
    assert (rest @ (made.mean - source.mean)).abs().max() < 1e-6, "what is not moved stays"


@pytest.mark.parametrize("spec", SPECS)
def test_the_ends_and_the_middle_of_the_way(root, spec):
    model, file = transfer(root, spec), files(root / "a")[0]
    image = as_colours(Image.open(file))[0]
    assert torch.equal(moved(model, file, strength=0.0), image)
    whole = moved(model, file)
    points = model.space.encode(image.double()) + model.space.encode(whole.double())
    middle = model.space.decode(points / 2, image.shape[1:])
    torch.testing.assert_close(moved(model, file, strength=0.5).double(), middle, rtol=0, atol=1e-6)
    assert (whole - image).abs().mean() > 0.02
    torch.testing.assert_close(moved(model, file, nfe=5), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(moved(model, file, sampler="euler", nfe=4), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_bands_of_rows_change_nothing(root, spec, monkeypatch):
    whole = transfer(root, spec)
    image = moved(whole, files(root / "a")[1], strength=0.7)
    monkeypatch.setattr("ddbm_cli.models.colour_transfer.BAND", 32 * 4)
    bands = transfer(root, spec)
    torch.testing.assert_close(bands.map.matrix, whole.map.matrix, rtol=0, atol=1e-9)
    torch.testing.assert_close(moved(bands, files(root / "a")[1], strength=0.7), image, rtol=0, atol=1e-6)


def test_it_is_the_bridge_of_no_variance(root):
    """The estimate from a point of the way is that of the Schrödinger bridge between the two distributions."""
    model = transfer(root, "rgb")
    bridge = GaussianBridge(RectifiedFlow(), source=model.source.gaussian, target=model.target.gaussian)
    points, t = torch.randn(50, 3, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    found = model.map.between(*RectifiedFlow().coefficients(t)[:2])(points)
    torch.testing.assert_close(found, bridge.estimate(points, t))


def test_a_stream_has_the_moments_of_the_whole():
    points = torch.randn(4, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 100
    weights = torch.arange(1000, dtype=torch.float64) % 3
    found = Moments()
    for part, weight in zip(points.split(170, 1), weights.split(170), strict=True):
        found.add(part, weight)
    wanted = np.cov(points.numpy(), aweights=weights.numpy(), ddof=0)
    torch.testing.assert_close(found.gaussian.covariance, torch.from_numpy(wanted), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.gaussian.mean, (points * weights).sum(1) / weights.sum())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(8, 12), (7, 5)])
def test_spaces_are_exact_in_both_directions(spec, size):
    space = build(COLOUR_SPACES, spec, what="colour space")
    image = torch.linspace(-1.2, 1.2, 3 * size[0] * size[1], dtype=torch.float64).view(3, *size)
    torch.testing.assert_close(space.decode(space.encode(image), size), image, rtol=0, atol=1e-7)


def test_opponent_is_oklab():
    """White has lightness 1 and no colour; red is that of the published table."""
    white, red = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in ([1.0, 1, 1], [1.0, -1, -1]))
    torch.testing.assert_close(
        Opponent().encode(white).flatten(), torch.tensor([1.0, 0, 0]).double(), rtol=0, atol=1e-5
    )
    wanted = torch.tensor([0.62796, 0.22486, 0.12585]).double()
    torch.testing.assert_close(Opponent().encode(red).flatten(), wanted, rtol=0, atol=1e-4)


def test_the_main_directions_hold_the_difference_of_the_means():
    """Two sets that differ by a constant colour, with noise in all directions."""
    size, space = 12, Patches(side=2, components=1)
    apart = torch.ones(size, dtype=torch.float64)
    one = torch.eye(size, dtype=torch.float64)
    found = between(Gaussian(0 * apart, one), Gaussian(apart, one), space)
    torch.testing.assert_close(found(0 * apart), apart)


def test_transparent_pixels_neither_count_nor_change(ddbm, root, tmp_path):
    for side in "ab":
        (tmp_path / side).mkdir()
        for file in files(root / side):
            image = Image.open(file).convert("RGBA")
            wide = Image.new("RGBA", (image.width + 8, image.height), (0, 255, 0, 0))
            wide.paste(image, (0, 0))
            wide.save(tmp_path / side / file.name)
    for folder, output in ((root, "plain"), (tmp_path, "clear")):
        words = ("translate", folder / "a", tmp_path / output, *TRANSFER, "--to", folder / "b", "--alpha", "keep")
        code, _, err = ddbm(*words)
        assert code == 0, err
    for file in files(root / "a"):
        plain = np.asarray(Image.open(tmp_path / "plain" / file.name))
        clear = np.asarray(Image.open(tmp_path / "clear" / file.name))
        assert (clear[:, :-8, :3] == plain).all() and (clear[:, :-8, 3] == 255).all()
        assert (clear[:, -8:, 3] == 0).all()


def test_white_paper_stays_on_request(ddbm, root, tmp_path):
    image = Image.open(files(root / "a")[0])
    sheet = Image.new("RGB", (64, 64), "white")
    sheet.paste(image, (4, 4))
    sheet.save(tmp_path / "x.png")
    for space, stays in (("opponent", False), ("opponent:keep_white=yes", True)):
        words = (*TRANSFER, "--to", root / "b", "--colour-space", space, "--overwrite")
        assert ddbm("translate", tmp_path / "x.png", tmp_path / "y.png", *words)[0] == 0
        made = np.asarray(Image.open(tmp_path / "y.png"))
        assert bool((made[40:] == 255).all()) is stays
        assert (made[8:16, 8:16] != np.asarray(sheet)[8:16, 8:16]).any()


def test_the_command_resumes_and_recreates(ddbm, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    words = ("translate", "a", tmp_path / "out", *TRANSFER, "--to", "b", "-b", 2)
    code, out, err = ddbm(*words)
    assert code == 0 and len(out.splitlines()) == 3 and "Colours  a (3) -> b (3)" in err
    file = tmp_path / "out" / "1.png"
    before = file.read_bytes()
    file.unlink()
    code, out, err = ddbm(*words)
    assert code == 0 and len(out.splitlines()) == 1 and file.read_bytes() == before
    command = ddbm("show", file, "--command", "--search", root)[1].decode().split()
    assert command[:2] == ["ddbm", "translate"] and "--colours-from a" in " ".join(command)
    assert ddbm(*command[1:], "-o", tmp_path / "again.png")[0] == 0
    assert (tmp_path / "again.png").read_bytes() == before
    _, _, err = ddbm("translate", "a", tmp_path / "out", *TRANSFER, "--to", "a/0.png")
    assert "(another model file)" in err
    code, _, _ = ddbm("translate", "a", tmp_path / "half", *TRANSFER, "--to", "b", "--strength", "0,0.5")
    assert code == 0
    for name, image in ((file.name, np.asarray(Image.open(file))) for file in files(root / "a")):
        assert (np.asarray(Image.open(tmp_path / "half" / "strength-0" / name)) == image).all()
        assert (np.asarray(Image.open(tmp_path / "half" / "strength-0_5" / name)) != image).any()


def test_sheets_and_trajectories_show_images_of_several_sizes(ddbm, root, tmp_path):
    sheet = tmp_path / "sheet.png"
    words = ("translate", root / "a", tmp_path / "out", *TRANSFER, "--to", root / "b", "--sheet", sheet, "--strip")
    code, _, err = ddbm(*words, "--strength", "0.5")
    assert code == 0, err
    assert Image.open(sheet).width >= 6 * 256
    assert len(list((tmp_path / "out").glob("*-strip.png"))) == 3


def test_options_change_the_result(ddbm, root, tmp_path):
    made = {}
    for name, options in {
        "plain": (),
        "rgb": ("--colour-space", "rgb"),
        "patches": ("--colour-space", "patches"),
        "other": ("--colours-from", root / "b"),
        "alone": ("--colours-from", root / "a" / "0.png"),
    }.items():
        words = ("translate", root / "a" / "0.png", tmp_path / f"{name}.png", *TRANSFER, "--to", root / "b", *options)
        assert ddbm(*words)[0] == 0
        made[name] = np.asarray(Image.open(tmp_path / f"{name}.png"))
    assert (made["plain"] == made["alone"]).all(), "a single file is its own source of colours"
    for one, other in itertools.combinations(made.keys() - {"alone"}, 2):
        assert (made[one] != made[other]).any(), (one, other)
    assert (made["other"] == np.asarray(Image.open(root / "a" / "0.png"))).all(), "equal colours: nothing moves"


def test_it_is_a_column_of_a_comparison(ddbm, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    methods = ("--with", "colour-transfer:0.5,1,to=b", "--with", "colour-transfer:to=b,colour_space=rgb", "--nfe", "4")
    code, _, err = ddbm("compare", "a", "-t", "b", *methods, "-o", tmp_path / "c.json", "-o", tmp_path / "c.html")
    assert code == 0, err
    found = json.loads((tmp_path / "c.json").read_text())["methods"]
    assert [each["nfe"] for each in found] == [1, 1, 1]
    assert len({each["MSE"] for each in found}) == 3
    code, _, err = ddbm("compare", "a", "--with", "dbim:to=b", "-o", tmp_path / "d.json")
    assert code == 2 and "to is for colour-transfer" in err


def test_unreadable_images_are_reported_and_do_not_count(root, tmp_path):
    good = files(root / "b")
    (tmp_path / "bad.png").write_bytes(b"no image")
    space = build(COLOUR_SPACES, "rgb", what="colour space")
    steps, events = survey([good[0], tmp_path / "bad.png", *good[1:]], space, folder="b"), []
    with pytest.raises(StopIteration) as stop:
        while True:
            events.append(next(steps))
    found = stop.value.value
    assert [each.done for each in events if isinstance(each, Surveying)] == [0, 1, 2, 3, 4]
    assert [each.names for each in events if isinstance(each, Noticed)] == [[str(tmp_path / "bad.png")]]
    assert found.images == 3
    torch.testing.assert_close(found.gaussian.mean, finish(survey(good, space, folder="b")).gaussian.mean)


def test_a_steep_map_is_noted(root):
    model = transfer(root, "rgb")
    assert model.notes() == []
    faint = Gaussian(torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 1.0, 1e-6]).double()))
    steep = ColourTransfer(model.space, Colours("a", 3, faint), model.target)
    assert "stretched" in steep.notes()[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "add --to FOLDER"),
        (("--to", "none"), "none"),
        (("--to", "b", "-m", "sketch-to-3d-64"), "remove --model"),
        (("--to", "b", "--colour-space", "tartan"), "choose one of: opponent, rgb, patches"),
        (("--to", "b", "--colour-space", "patches:side=0"), "side"),
        (("--to", "b", "--fit", "crop"), "remove --fit"),
        (("--to", "b", "--repeats", "2"), "--repeats is for --method sdedit"),
        (("--to", "b", "--strength", "2"), "--strength"),
        (("--to", "b", "-n", "2"), "draws no noise"),
    ],
)
def test_bad_options_are_explained(ddbm, root, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(root)
    code, _, err = ddbm("translate", "a", tmp_path / "out", *TRANSFER, *options)
    assert code == 2 and words in err and not (tmp_path / "out").exists(), err


def test_its_options_are_for_it_and_inputs_without_a_folder_need_one(ddbm, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    code, _, err = ddbm("translate", "a", tmp_path / "out", "--to", "b")
    assert code == 2 and "--to is for --method colour-transfer" in err
    (tmp_path / "white").mkdir()
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(tmp_path / "white" / "x.png")
    code, _, err = ddbm("translate", "a", tmp_path / "out", *TRANSFER, "--to", tmp_path / "white")
    assert code == 2 and "no image with colours" in err
    body = (root / "a" / "0.png").read_bytes()
    code, _, err = ddbm("translate", "-", tmp_path / "x.png", *TRANSFER, "--to", "b", stdin=body)
    assert code == 2 and "--colours-from" in err
    words = (*TRANSFER, "--to", "b", "--colours-from", "a")
    code, _, err = ddbm("translate", "-", tmp_path / "x.png", *words, stdin=body)
    assert code == 0, err


KILLED = """
import os, signal, sys
from ddbm_cli.foundation.events import Written
from ddbm_cli.tasks.translate import request, run

source, output, to, images = sys.argv[1:]
written = 0
for event in run(request(source=source, output=output, method="colour-transfer", to=to, strength=0.5)):
    written += isinstance(event, Written)
    if written == int(images):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_ends_as_an_undisturbed_one(root, tmp_path):
    words = (root / "a", tmp_path / "killed", root / "b", 1)
    assert forked.run(KILLED, *words, action=forked.script)[0] == -signal.SIGKILL
    for output in ("whole", "killed"):
        asked = {"source": str(root / "a"), "output": tmp_path / output, "to": str(root / "b"), "strength": 0.5}
        list(run(request(method="colour-transfer", **asked)))
    for file in files(root / "a"):
        whole, killed = (tmp_path / name / file.name for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()
