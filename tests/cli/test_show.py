"""`ddbm show`: what a file says of itself is enough to make a picture again."""

import json
import shlex

from ddbm_cli.imaging.io import open_picture
from tests.tiny import picture


def test_a_models_card_is_shown_whole(ddbm, model):
    code, out, _ = ddbm("show", model)
    text = out.decode()
    assert code == 0 and "tiny" in text and "channels 8" in text and "MIT" in text
    code, out, _ = ddbm("show", model, "--json")
    facts = json.loads(out)
    assert facts["name"] == "tiny" and facts["network"]["channels"] == 8 and facts["bytes"] == model.stat().st_size
    assert len(facts["sha256"]) == 64 and facts["file"] == "tiny.safetensors"


def test_the_shown_command_makes_the_image_again(ddbm, folder, model):
    options = ["--sampler", "heun:churn=0.4", "--grid", "karras:rho=5", "--steps", 3, "--seed", 9, "--keep-size"]
    assert ddbm("translate", folder / "in", folder / "out", "-m", model, *options, "--fit", "crop", "-b", 1)[0] == 0
    (folder / "model.safetensors").write_bytes(model.read_bytes())
    code, out, _ = ddbm("show", folder / "out" / "1.png", "--command")
    words = shlex.split(out.decode())
    assert code == 0 and words[:3] == ["ddbm", "translate", str(folder / "in" / "1.png")]
    assert words[words.index("--model") + 1] == str(folder / "model.safetensors")
    again = ddbm(*words[1:], "-o", folder / "again.png")
    assert again[0] == 0, again[2]
    assert open_picture(folder / "again.png").tobytes() == open_picture(folder / "out" / "1.png").tobytes()


def test_another_format_is_in_the_command(ddbm, folder, model):
    ddbm("translate", folder / "in", folder / "out", "-m", model, "--format", "jpg", "--quality", 80)
    (folder / "model.safetensors").write_bytes(model.read_bytes())
    words = shlex.split(ddbm("show", folder / "out" / "0.jpg", "--command")[1].decode())
    assert words[words.index("--format") + 1] == "jpg" and words[words.index("--quality") + 1] == "80"


def test_files_that_say_nothing_are_named(ddbm, tmp_path, model):
    picture(0).save(tmp_path / "bare.png")
    code, _, err = ddbm("show", tmp_path / "bare.png")
    assert code == 3 and "holds no record" in err and len(err.splitlines()) == 2
    (tmp_path / "text.safetensors").write_text("no")
    code, _, err = ddbm("show", tmp_path / "text.safetensors")
    assert code == 4 and len(err.splitlines()) == 2
    assert ddbm("show", tmp_path / "none.png")[0] == 4
    code, _, err = ddbm("show", model, "--command")
    assert code == 2 and "for images" in err
