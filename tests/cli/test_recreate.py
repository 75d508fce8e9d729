"""`show --command` makes every image again, byte for byte, or explains why it cannot."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ddbm_cli.imaging.io import encode_picture, open_picture, read_text
from ddbm_cli.tasks.recreate import quoted
from tests.tasks.test_sample import PRIOR
from tests.tiny import picture, write_tiny


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Inputs in a sub-folder, and models in folders of their own, as runs have."""
    tmp_path = tmp_path / "far" / "from" / "others"  # those of other tests have the same files
    (tmp_path / "in" / "ink").mkdir(parents=True)
    for index in range(3):
        picture(index, 24).save(tmp_path / "in" / "ink" / f"{index}.png")
    for name, card in (("bridge", {}), ("prior", PRIOR), ("other", PRIOR)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_tiny(tmp_path / "runs" / name / "model.safetensors", **card | {"name": name})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line(ddbm, image, *more):
    """Return the command that an image is made again by, and what was noted."""
    code, out, err = ddbm("show", image, "--command", *more)
    assert code == 0, err
    return shlex.split(out.decode())[1:], err


def remade(ddbm, image, monkeypatch, folder):
    """Run the command of an image in another folder; return the files that it wrote."""
    words, _ = line(ddbm, image)
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        output = folder / image.name if words[0] == "translate" else folder / "samples"
        code, _, err = ddbm(*words, "-o", output, "-q", "-d", "cpu")
        assert code == 0, err
    return {path.name: path.read_bytes() for path in folder.rglob("*.*")}


MADE = {
    "sub-folder": ("translate in out -r -m runs/bridge --sampler sde --nfe 5", "out/ink/1.png"),
    "jpg": ("translate in out -r -m runs/bridge --format jpg --quality 70 --sampler sde", "out/ink/1.jpg"),
    "third draw": ("translate in out -r -m runs/bridge -n 3 --sampler sde --format webp", "out/ink/1_002.webp"),
    "cut out": ("translate in out -r -m runs/bridge --alpha cut --keep-size", "out/ink/1.png"),
    "deep": ("translate in/ink out -m runs/bridge --bits 16", "out/2.png"),
    "kept size": ("translate in/ink out -m runs/bridge --keep-size --fit crop --seed 4", "out/2.png"),
    "draws": ("sample in -r -o out -m runs/bridge -n 3 --nfe 5", "out/ink/1/002.png"),
    "between draws": ("sample in -r -o out -m runs/bridge -n 3 --interpolate 2 --nfe 5", "out/ink/0/001_2.png"),
    "truths": ("sample in/ink -o out -m runs/bridge --encode in/ink -n 2 --sampler dbim --steps 4", "out/0/000.png"),
    "samples": ("sample -o out -m runs/prior -n 4 --nfe 5 --seed 2", "out/000003.png"),
    "sdedit": ("translate in out -r -m runs/prior --method sdedit --strength 0.4 --repeats 2", "out/ink/2.png"),
    "blur": ("translate in out -r -m runs/prior --method sdedit --guide blur:sigma=2", "out/ink/2.png"),
    "masks": (
        "translate in out -r -m runs/prior --method sdedit --mask masks --guide colour:strokes.png",
        "out/ink/2.png",
    ),
    "ddib": ("translate in out -r -m runs/prior --source-model runs/other --method ddib --steps 3", "out/ink/0.png"),
}


@pytest.mark.parametrize("name", MADE)
def test_every_image_is_made_again_byte_for_byte(ddbm, root, monkeypatch, name):
    (root / "masks" / "ink").mkdir(parents=True)
    for index in range(3):
        mask = picture(index, 24).convert("L").point(lambda level: 255 if level > 200 else 0)
        mask.save(root / "masks" / "ink" / f"{index}.png")
    picture(9, 24).save(root / "strokes.png")
    words, image = MADE[name]
    code, _, err = ddbm(*words.split(), "-d", "cpu", "-q")
    assert code == 0, err
    made = remade(ddbm, root / image, monkeypatch, root / "again")
    assert made[Path(image).name] == (root / image).read_bytes()


def test_a_page_of_comparison_holds_commands_that_work(ddbm, root, monkeypatch):
    common = ["-r", "-m", "runs/bridge", "-d", "cpu", "-q"]
    code, _, err = ddbm("compare", "in", *common, "--with", "sde:3", "-o", "c.json")
    assert code == 0, err
    (method,) = json.loads((root / "c.json").read_text())["methods"]
    words = shlex.split(method["commands"]["ink/1.png"])
    assert words[words.index("--noise-name") + 1] == "ink/1.png" and words[words.index("--model") + 1] == "runs/bridge"
    assert ddbm(*words[1:], "-o", root / "again.png", "-d", "cpu", "-q")[0] == 0
    assert ddbm("translate", "in", "out", *common, "--sampler", "sde", "--nfe", 3)[0] == 0
    assert (root / "again.png").read_bytes() == (root / "out" / "ink" / "1.png").read_bytes()


def test_the_input_is_found_by_its_content_and_is_never_the_output(ddbm, root, monkeypatch):
    """Not by its name: the output, and another image of that name, are not taken."""
    assert ddbm("translate", "in", "out", "-r", "-m", "runs/bridge", "-d", "cpu", "-q")[0] == 0
    monkeypatch.chdir(root / "out" / "ink")
    assert line(ddbm, Path("1.png"))[0][1] == str(root / "in" / "ink" / "1.png")
    (root / "in" / "ink" / "1.png").rename(root / "renamed.png")
    picture(8, 24).save(root / "in" / "ink" / "1.png")
    words, _ = line(ddbm, Path("1.png"))
    assert words[1] == str(root / "renamed.png") and words[words.index("--noise-name") + 1] == "ink/1.png"
    (root / "renamed.png").unlink()
    code, out, err = ddbm("show", "1.png", "--command")
    assert code == 3 and not out and "1.png" in err and "not found" in err and "--search" in err
    shutil.copytree(root / "in", root.parent / f"{root.name}-far")
    picture(1, 24).save(root.parent / f"{root.name}-far" / "x.png")
    words, _ = line(ddbm, Path("1.png"), "--search", root.parent / f"{root.name}-far", "--search", root / "runs")
    assert words[1].endswith("far/x.png")


def test_a_model_that_is_gone_is_named(ddbm, root):
    assert ddbm("translate", "in/ink", "out", "-m", "runs/bridge", "-d", "cpu", "-q")[0] == 0
    write_tiny(root / "runs" / "bridge" / "model.safetensors", name="bridge", licence="another file of that name")
    code, out, err = ddbm("show", "out/1.png", "--command")
    assert code == 4 and not out and "bridge" in err and "--search" in err


def test_a_model_in_a_folder_of_diffusers_layout_is_found(ddbm, root, monkeypatch):
    assert ddbm("weights", "export", "runs/bridge", "exported", "-f", "diffusers")[0] == 0
    shutil.rmtree(root / "runs")
    assert ddbm("translate", "in", "out", "-r", "-m", "exported", "-d", "cpu", "-q", "--sampler", "sde")[0] == 0
    words, _ = line(ddbm, root / "out" / "ink" / "1.png")
    assert words[words.index("--model") + 1] == str(root / "exported")
    made = remade(ddbm, root / "out" / "ink" / "1.png", monkeypatch, root / "again")
    assert made["1.png"] == (root / "out" / "ink" / "1.png").read_bytes()


def test_a_builtin_model_is_named_and_makes_the_same_bytes(ddbm, root, monkeypatch):
    assert ddbm("translate", "in/ink/0.png", "out.png", "--nfe", 2, "-d", "cpu", "-q")[0] == 0
    words, _ = line(ddbm, "out.png")
    assert words[words.index("--model") + 1] == "sketch-to-3d-64"
    assert remade(ddbm, root / "out.png", monkeypatch, root / "again")["out.png"] == (root / "out.png").read_bytes()


def test_batches_and_older_records_are_noted(ddbm, root):
    assert (
        ddbm("translate", "in/ink", "out", "-m", "runs/bridge", "-d", "cpu", "-q", "-b", 3, "--dtype", "bf16")[0] == 0
    )
    assert "batches" in line(ddbm, "out/1.png")[1]
    record = json.loads(read_text(root / "out" / "1.png")["ddbm"])
    old = {name: value for name, value in record.items() if name not in ("noise_name", "method")} | {
        "tool": "ddbm 0.0.9"
    }
    body = encode_picture(open_picture(root / "out" / "1.png"), "png", text={"ddbm": json.dumps(old)})
    (root / "old.png").write_bytes(body)
    words, notes = line(ddbm, "old.png")
    assert words[0] == "translate" and "0.0.9" in notes and "seeds the noise" in notes


BAD = [{"sampler": 3}, {"grid": {"name": "x"}}, {"steps": "many"}, {"source": 5}, {"model": None}, {"start": []}]


@pytest.mark.parametrize("change", [*BAD, {"seed": {}}], ids=str)
def test_a_damaged_record_is_one_error(ddbm, root, change):
    assert ddbm("translate", "in/ink/0.png", "out.png", "-m", "runs/bridge", "-d", "cpu", "-q")[0] == 0
    record = json.loads(read_text(root / "out.png")["ddbm"]) | change
    body = encode_picture(open_picture(root / "out.png"), "png", text={"ddbm": json.dumps(record)})
    (root / "bad.png").write_bytes(body)
    code, out, err = ddbm("show", "bad.png", "--command")
    assert code in (0, 2, 3, 4) and "Traceback" not in err and "nexpected" not in err
    assert code == 0 or (not out and len(err.splitlines()) == 2)


def test_odd_names_are_quoted_for_the_shell(ddbm, root):
    odd = ["a b.png", "-x.png", "$(x).png", "it's.png", "new\nline.png"]
    for index, name in enumerate(odd):
        picture(index + 20, 24).save(root / "in" / name)
    assert ddbm("translate", "in", "out", "-m", "runs/bridge", "-d", "cpu", "-q")[0] == 0
    for name in odd:
        code, out, err = ddbm("show", root / "out" / name, "--command")
        assert code == 0 and b"\n" not in out[:-1], err
        script = f'set -- {out.decode().strip()}; printf %s "$3"'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == str(root / "in" / name)
    assert quoted("a\x1b[31m") == "$'a\\x1b[31m'" and quoted("plain") == "plain"


FROM = {
    "sampler": "translate in first -r -m runs/bridge --sampler sde --nfe 7 --seed 3 --keep-size --fit crop",
    "named": "translate in first -r -m runs/bridge --sampler sde --metadata basic --alpha cut -f webp --quality 60",
    "draw": "translate in first -r -m runs/bridge -n 3 --sampler sde --name {stem}_{draw}.png",
    "sdedit": "translate in first -r -m runs/prior --method sdedit --strength 0.4 --repeats 2 --guide blur:sigma=2",
    "ddib": "translate in first -r -m runs/prior --source-model runs/other --method ddib --steps 3",
}


@pytest.mark.parametrize("name", FROM)
def test_settings_of_an_image_make_the_same_of_its_input_and_of_others(ddbm, root, name):
    """The bytes are those that all options of the first command give."""
    code, _, err = ddbm(*FROM[name].split(), "-d", "cpu", "-q")
    assert code == 0, err
    made = {path.relative_to("first"): path.read_bytes() for path in Path("first").rglob("*.*")}
    of_one = sorted(path for path in made if path.stem in ("1", "1_2"))[-1]
    more = ["--metadata", "basic"] if name == "named" else []
    form = ["-f", "webp", "--quality", "60"] if name == "named" else []
    code, _, err = ddbm("translate", "in", "second", "-r", "--from", Path("first") / of_one, "-d", "cpu", *form, *more)
    assert code == 0 and "From" in err, err
    again = {path.relative_to("second"): path.read_bytes() for path in Path("second").rglob("*.*")}
    if name == "draw":  # number 2 of each
        made = {path.with_stem(f"{path.stem[0]}_002"): body for path, body in made.items() if path.stem[1:] == "_2"}
    assert again == made


def test_options_that_are_given_win(ddbm, root):
    def record(*options):
        code, _, err = ddbm(
            "translate", "in/ink/0.png", "b.png", "--from", "a.png", "-d", "cpu", "--overwrite", *options
        )
        assert code == 0, err
        return json.loads(read_text(Path("b.png"))["ddbm"])

    grid = ["--grid", "timesteps:at=0.9-0.5-0.1"]
    words = ["translate", "in/ink/0.png", "a.png", "-m", "runs/bridge", "--sampler", "dbim:eta=0.5", "--seed", "4"]
    assert ddbm(*words, "-d", "cpu", *grid)[0] == 0
    first = json.loads(read_text(Path("a.png"))["ddbm"])
    assert record() == first
    assert record("--seed", "9") == first | {"seed": 9}
    fewer = record("--nfe", "9")
    assert fewer["nfe"] == 9 and fewer["sampler"] == first["sampler"] and fewer["grid"]["name"] != "timesteps"
    other = record("--sampler", "heun:churn=0.33")
    assert other["sampler"]["name"] == "heun" and other["seed"] == 4 and other["nfe"] in (3, 4)
    assert record("-m", "runs/bridge")["model_sha256"] == first["model_sha256"]
    edited = record("--method", "sdedit", "-m", "runs/prior", "--strength", "0.3", "--grid", "karras")
    assert edited["method"] == "sdedit" and edited["seed"] == 4


def test_from_explains_what_it_cannot_use(ddbm, root):
    assert ddbm("sample", "-m", "runs/prior", "-n", "1", "-o", "noise", "--nfe", "3")[0] == 0
    words = ["translate", "in/ink/0.png", "b.png", "--from"]
    for file, message in [
        ("noise/000000.png", "made from noise"),
        ("in/ink/1.png", "holds no record"),
        ("none.png", "no such file"),
        ("runs/bridge/model.safetensors", "holds no record"),
    ]:
        code, _, err = ddbm(*words, file)
        assert code in (1, 2) and message in err and "Hint" in err, err
    assert ddbm("translate", "in/ink/0.png", "a.png", "-m", "runs/bridge")[0] == 0
    shutil.rmtree("runs/bridge")
    code, _, err = ddbm(*words, "a.png")
    assert code == 4 and "the model of this image was not found" in err
