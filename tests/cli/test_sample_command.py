"""`ddbm sample` on the command line."""

import json

from PIL import Image, ImageFilter

from tests.tasks.test_sample import PRIOR
from tests.tiny import picture, write_tiny


def test_sample_and_edit(ddbm, tmp_path):
    model = write_tiny(tmp_path / "prior.safetensors", **PRIOR)
    code, out, err = ddbm("sample", "-n", "2", "-o", tmp_path / "out", "-m", model, "-b", "1", "--json")
    records = [json.loads(line) for line in out.decode().splitlines()]
    names = [record["event"] for record in records if record["event"] != "batch_started"]
    assert code == 0 and names == ["planned", "written", "written", "finished"], err
    code, out, err = ddbm("sample", "-n", "3", "-o", tmp_path / "out", "-m", model, "-q")
    assert code == 0 and out.decode().splitlines() == [str(tmp_path / "out" / "000002.png")] and err == ""
    code, out, err = ddbm(
        "translate", tmp_path / "out", tmp_path / "edited", "-m", model, "--method", "sdedit", "--strength", "0.4"
    )
    assert code == 0 and "strength 0.4 = sigma" in err and len(out.splitlines()) == 3
    code, _, err = ddbm("translate", tmp_path / "out", tmp_path / "edited", "-m", model)
    assert code == 2 and "--method sdedit" in err


def test_many_draws_of_each_source(ddbm, tmp_path):
    model = write_tiny(tmp_path / "bridge.safetensors")
    picture(0).save(tmp_path / "a.png")
    given = ["sample", tmp_path / "a.png", "-o", tmp_path / "out", "-m", model, "--spread"]
    code, out, err = ddbm(*given, "-n", "2", "--interpolate", "1", "--json")
    records = [json.loads(line) for line in out.decode().splitlines()]
    assert code == 0 and [record["draw"] for record in records if record["event"] == "written"] == [0, 0, 1], err
    assert (tmp_path / "out" / "a-spread.png").exists() and "2 draws of each" in err
    code, _, err = ddbm(*given, "-n", "2", "--sampler", "ode")
    assert code == 2 and "draws no noise" in err and "Traceback" not in err


def test_an_edit_with_a_mask_and_a_guide(ddbm, tmp_path):
    model = write_tiny(tmp_path / "prior.safetensors", **PRIOR)
    picture(0).save(tmp_path / "in.png")
    Image.new("L", (16, 16), 0).save(tmp_path / "mask.png")
    given = ["translate", tmp_path / "in.png", tmp_path / "out.png", "-m", model, "--method", "sdedit"]
    code, _, err = ddbm(*given, "--mask", tmp_path / "mask.png", "--guide", "blur:sigma=2", "--repeats", "2")
    blurred = Image.open(tmp_path / "in.png").filter(ImageFilter.GaussianBlur(2))
    assert code == 0 and Image.open(tmp_path / "out.png").tobytes() == blurred.tobytes(), err
    for option, value, words in (("--mask", "none", "(mask)"), ("--guide", "smear", "--guide smear: unknown value")):
        code, _, err = ddbm(*given, "--overwrite", option, value)
        assert code == 2 and words in err and "Traceback" not in err


def test_processes_share_the_work(ddbm, tmp_path):
    """As torchrun starts them: each makes every second picture, and the last writes the sheet."""
    model = write_tiny(tmp_path / "prior.safetensors", **PRIOR)
    given = ["sample", "-n", "5", "-o", tmp_path / "out", "-m", model, "--sheet", tmp_path / "sheet.png"]
    for rank, numbers in (("1", [1, 3]), ("0", [0, 2, 4])):
        assert not (tmp_path / "sheet.png").exists()
        code, out, err = ddbm(*given, RANK=rank, WORLD_SIZE="2", LOCAL_RANK=rank)
        assert code == 0 and [int(line[-10:-4]) for line in out.decode().splitlines()] == numbers, err
        assert (err == "") is (rank == "1")
    assert (tmp_path / "sheet.png").exists()
    code, out, err = ddbm(*given, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
    assert code == 0 and out == err.encode() == b""  # all is there
    for rank, size in (("2", "2"), ("x", "2"), ("1", "")):
        code, _, err = ddbm(*given, RANK=rank, WORLD_SIZE=size)
        assert code == 2 and "WORLD_SIZE" in err and "torchrun" in err


def test_processes_share_a_folder(ddbm, tmp_path):
    model = write_tiny(tmp_path / "bridge.safetensors")
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index).save(tmp_path / "in" / f"{index}.png")
    for rank, names in (("0", ["0.png", "2.png"]), ("1", ["0.png", "1.png", "2.png"])):
        code, _, err = ddbm("translate", tmp_path / "in", tmp_path / "out", "-m", model, RANK=rank, WORLD_SIZE="2")
        assert code == 0 and sorted(path.name for path in (tmp_path / "out").glob("*.png")) == names, err
    code, out, _ = ddbm(
        *("translate", tmp_path / "in" / "0.png", tmp_path / "one.png", "-m", model), RANK="1", WORLD_SIZE="2"
    )
    assert code == 0 and out == b"" and not (tmp_path / "one.png").exists()


def test_without_a_prior_the_hint_is_how_to_get_one(ddbm, tmp_path):
    code, _, err = ddbm("sample", "-o", tmp_path / "out", "-m", tmp_path / "none.safetensors")
    assert code == 4 and "no such model file" in err


def test_several_strengths_have_a_folder_each(ddbm, tmp_path):
    model = write_tiny(tmp_path / "prior.safetensors", **PRIOR)
    picture(0).save(tmp_path / "in.png")
    sdedit = ["-m", model, "--method", "sdedit", "--steps", "2"]
    code, _, err = ddbm("translate", tmp_path / "in.png", tmp_path / "out", *sdedit, "--strength", "0.2,0.4")
    made = [(tmp_path / "out" / f"strength-0_{tenth}" / "in.png").read_bytes() for tenth in (2, 4)]
    assert code == 0 and made[0] != made[1], err
    for output, strength, words in (
        ("x.png", "0.2,0.4", "several strengths"),
        ("out", "0.2,a", "must be a number, not 'a'"),
    ):
        code, _, err = ddbm("translate", tmp_path / "in.png", tmp_path / output, *sdedit, "--strength", strength)
        assert code == 2 and words in err
    code, _, err = ddbm("translate", tmp_path / "in.png", tmp_path / "out", *sdedit, "--strength", "0.2,1.4")
    assert code == 2 and "--strength" in err and "Traceback" not in err and "unexpected" not in err


def test_evaluate_measures_the_likelihood_of_images_under_a_prior(ddbm, tmp_path):
    model = write_tiny(tmp_path / "prior.safetensors", **PRIOR)
    picture(0).save(tmp_path / "a.png")
    code, out, err = ddbm("evaluate", tmp_path / "a.png", "-m", model, "--steps", "2", "-d", "cpu")
    assert code == 0 and "Bits per dimension" in out.decode() and "Traceback" not in err
    code, _, err = ddbm("evaluate", tmp_path / "a.png", "-m", tmp_path / "none.safetensors")
    assert code == 4 and "no such model file" in err
