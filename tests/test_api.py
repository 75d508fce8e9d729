"""The Python interface: objects in, objects out, and the bytes of the command."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddbm_cli as ddbm
from ddbm_cli.cli.main import main
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import GRIDS, SAMPLERS, STARTS
from tests.tasks.test_sample import PRIOR
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_tiny(root / "bridge.safetensors")
    write_tiny(root / "prior.safetensors", **PRIOR)
    return root


@pytest.fixture(scope="module")
def model(files):
    return ddbm.load_model(files / "bridge.safetensors", device="cpu")


@pytest.fixture(scope="module")
def prior(files):
    return ddbm.load_model(files / "prior.safetensors", device="cpu")


@pytest.fixture
def root(tmp_path):
    for index in range(3):
        picture(index, 40).save(tmp_path / f"{index}.png")
    return tmp_path


def command(monkeypatch, *words):
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", ["ddbm", *map(str, words)])
        main()
    assert not stop.value.code


def pixels(image):
    return np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else Image.open(image).convert("RGB"))


def test_the_import_is_free_of_torch_and_every_name_is_there():
    script = (
        "import sys, ddbm_cli\n"
        "assert not {'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules)\n"
        "assert set(ddbm_cli.__all__) <= set(dir(ddbm_cli)) and 'torch' not in sys.modules\n"
        "for name in ddbm_cli.__all__: getattr(ddbm_cli, name)\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ddbm.nothing_like_it  # noqa: B018


def test_every_path_sampler_grid_and_start_is_exported():
    registered = {kind for registry in (PATHS, SAMPLERS, GRIDS, STARTS) for kind in registry.values()}
    assert registered <= {getattr(ddbm, name) for name in ddbm.__all__}


@pytest.mark.parametrize("options", [{}, {"nfe": 7, "seed": 7}, {"sampler": "sde"}, {"fit": "stretch"}], ids=str)
def test_a_call_gives_the_pixels_of_the_command(root, files, model, monkeypatch, options):
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    common = ["-m", files / "bridge.safetensors", "-d", "cpu", "-q"]
    command(monkeypatch, "translate", root, root / "out", *flags, *common)
    wanted = [pixels(root / "out" / f"{index}.png") for index in range(3)]
    one = model(root / "1.png", **options)
    assert isinstance(one, Image.Image) and np.array_equal(pixels(one), wanted[1])
    several = model([root / f"{index}.png" for index in range(3)], **options)
    assert all(np.array_equal(pixels(made), right) for made, right in zip(several, wanted, strict=True))


def test_the_functions_write_the_bytes_of_the_commands(root, files, model, prior, monkeypatch):
    common = ["-d", "cpu", "-q", "--nfe", "5", "--seed", "3"]
    command(monkeypatch, "translate", root / "0.png", root / "a.png", "-m", files / "bridge.safetensors", *common)
    events = []
    done = ddbm.translate(root / "0.png", root / "b.png", model=model, nfe=5, seed=3, progress=events.append)
    assert done.written == 1 and (root / "a.png").read_bytes() == (root / "b.png").read_bytes()
    assert [type(event).__name__ for event in events].count("Evaluated") == 5
    command(monkeypatch, "sample", "-n", "2", "-o", root / "s", "-m", files / "prior.safetensors", *common)
    done = ddbm.sample(root / "t", number=2, model=str(files / "prior.safetensors"), device="cpu", nfe=5, seed=3)
    assert done.written == 2
    for name in ("000000.png", "000001.png"):
        assert (root / "s" / name).read_bytes() == (root / "t" / name).read_bytes()
    (image,) = prior.sample(1, start=1, nfe=5, seed=3)
    assert np.array_equal(pixels(image), pixels(root / "s" / "000001.png"))


def test_images_arrays_and_tensors_are_alike(root, model):
    """The same pixels under the same name give the same result, each in its own form."""
    wanted = pixels(model(root / "2.png", seed=5))
    image = Image.open(root / "2.png")
    assert np.array_equal(pixels(model(image, seed=5)), wanted)
    array = np.asarray(image.convert("RGB"))
    made = model(array, names="2.png", seed=5)
    assert made.dtype == np.uint8 and np.array_equal(made, wanted)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1) / 127.5 - 1
    made = model(tensor, names="2.png", seed=5)
    assert made.dtype == torch.float32 and np.array_equal(((made + 1) * 127.5).round().permute(1, 2, 0), wanted)
    both = model(torch.stack([tensor, tensor]), names=["2.png", "x"], seed=5, output="array")
    assert np.array_equal(both[0], wanted) and not np.array_equal(both[1], wanted)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1"])
def test_pil_images_of_any_mode(model, mode):
    assert model(picture(0, 20).convert(mode)).size == (16, 16)


def test_objects_as_well_as_text(model):
    batch = torch.rand(2, 3, 16, 16) * 2 - 1
    noise = ddbm.NoiseSource(0, ["a", "b"])
    result = model.translate(batch, noise, model.plan(sampler=ddbm.HybridHeun(churn=0.33), steps=6))
    again = model.translate(batch, ddbm.NoiseSource(0, ["a", "b"]), model.plan(sampler="heun:churn=0.33", steps=6))
    assert result.shape == (2, 3, 16, 16) and torch.equal(result, again)
    other = model.translate(batch, ddbm.NoiseSource(0, ["a", "b"]), model.plan(grid=ddbm.Karras(rho=3.0), steps=6))
    assert not torch.equal(result, other) and torch.equal(model.translate(batch, 3), model.translate(batch, 3))
    image = picture(1)
    by_object = model(image, sampler=ddbm.HybridHeun(churn=0.4), grid=ddbm.Karras(rho=5.0), steps=4)
    by_text = model(image, sampler="heun:churn=0.4", grid="karras:rho=5", steps=4)
    assert np.array_equal(pixels(by_object), pixels(by_text))


def test_progress_counts_every_evaluation(model):
    seen = []
    model(
        [picture(0), picture(1), picture(2)],
        nfe=4,
        batch_size=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 8) for done in range(1, 9)]
    seen = []
    plan = model.plan(nfe=5)
    model.translate(torch.zeros(1, 3, 16, 16), 0, plan, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_methods_with_loaded_models(model, prior, root):
    edited = prior(root / "0.png", method="sdedit", strength=0.4)
    assert not np.array_equal(pixels(edited), pixels(prior(root / "0.png", method="sdedit", strength=0.8)))
    assert prior(root / "0.png", method="ddib", source_model=prior, steps=2).size == (16, 16)
    with pytest.raises(ddbm.UsageError, match="SDEdit needs a prior"):
        model(root / "0.png", method="sdedit")


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((4, 4, 3)), {}, "is not an image"),
        (torch.zeros(4, 4), {}, "is not an image"),
        (torch.full((3, 4, 4), float("nan")), {}, "NaN"),
        (7, {}, "int is not an image"),
        (np.zeros((4, 4, 3), np.uint8), {"grid": 3}, "int is not a grid"),
        (np.zeros((4, 4, 3), np.uint8), {"sampler": 3}, "int is not a sampler"),
        (np.zeros((4, 4, 3), np.uint8), {"batch_size": 0}, "--batch-size"),
        (np.zeros((4, 4, 3), np.uint8), {"nfee": 3}, "unknown option 'nfee'"),
        (np.zeros((4, 4, 3), np.uint8), {"nfe": 0}, "--nfe"),
        (np.zeros((4, 4, 3), np.uint8), {"names": ["a", "b"]}, "2 names for 1"),
        (np.zeros((4, 4, 3), np.uint8), {"sampler": "nothing"}, "nothing"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_explained(model, image, options, words):
    with pytest.raises(ddbm.UsageError, match=words) as caught:
        model(image, **options)
    assert caught.value.hint


def test_a_generator_of_images_gives_a_list(model, root):
    single = pixels(model(root / "0.png"))
    (translated,) = model(path for path in [root / "0.png"])
    assert np.array_equal(pixels(translated), single)


@pytest.mark.parametrize("reference", [3, b"model", ["a"]], ids=str)
def test_a_reference_of_another_type_is_a_usage_error(reference):
    with pytest.raises(ddbm.UsageError, match="is not a model"):
        ddbm.load_model(reference)


def test_a_missing_file_is_an_image_error(model, tmp_path):
    with pytest.raises(ddbm.ImageError, match="no such file"):
        model(tmp_path / "none.png")
    with pytest.raises(ddbm.ModelError):
        ddbm.load_model(str(tmp_path / "none.safetensors"))


def test_the_examples_of_the_manual_run(tmp_path, monkeypatch):
    """All blocks of the page on Python, in order, in one session."""
    page = (Path(ddbm.__file__).parent / "manual" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "sketches").mkdir()
    for place in ("sketch.png", "other.png", "sketches/a.png"):
        picture(1, 64).save(tmp_path / place)
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    for block in blocks:
        exec(block, session)
    assert len(blocks) == 5 and (tmp_path / "images" / "a.png").exists()
