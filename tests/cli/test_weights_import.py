"""Others' weights from the shell: import, the self-check, and a name whose file is converted at first use."""

import io
import json
from pathlib import Path

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import load_model
from ddbm_cli.tasks.exchange import import_model
from tests.foreign import TABLE, foreign_weights, write_foreign
from tests.tiny import picture, write_tiny


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDBM_WEIGHTS", str(tmp_path / "mine.toml"))
    Path("mine.toml").write_text(TABLE)
    write_foreign(tmp_path / "old.pt")


def test_import_reports_the_self_check(ddbm):
    code, out, err = ddbm("weights", "import", "old.pt", "--like", "foreign")
    assert (code, out.decode()) == (0, "foreign.safetensors\n")
    assert "foreign, 213,276 parameters, fp32" in err
    assert "faults: " in err and "at noise 0.7 the error is" in err, "random weights denoise nothing, and that is told"
    assert load_model("foreign.safetensors").name == "foreign"
    code, _, err = ddbm("weights", "import", "old.pt", "--like", "foreign")
    assert code == 2 and "exists already" in err
    code, out, _ = ddbm("weights", "import", "old.pt", "--like", "foreign", "--overwrite", "--json")
    record = json.loads(out)
    assert code == 0 and record["faults"] and len(record["fingerprint"]) == 18 and len(record["figures"]) == 9


def recorded():
    return list(json.loads(json.dumps(import_model(Path("old.pt"), like="foreign", overwrite=True)[1].fingerprint)))


def test_another_fingerprint_is_an_error_and_leaves_nothing(ddbm):
    marks = recorded()
    Path("mine.toml").write_text(TABLE.replace('licence = "MIT"', f'licence = "MIT"\nfingerprint = {marks}', 1))
    assert ddbm("weights", "import", "old.pt", "--like", "foreign", "--overwrite")[0] == 0
    Path("foreign.safetensors").unlink()
    torch.save(foreign_weights(seed=1), "other.pt")
    code, out, err = ddbm("weights", "import", "other.pt", "--like", "foreign")
    assert (code, out) == (4, b"") and "self-check failed" in err and len(err.splitlines()) == 2
    assert sorted(path.name for path in Path().iterdir() if path.suffix == ".safetensors" or ".new" in path.name) == []


def test_verify_checks_what_a_model_does(ddbm):
    write_tiny(Path("mine.safetensors"))
    code, out, _ = ddbm("weights", "verify", "mine.safetensors", "--check")
    assert code == 0 and b"self-check" in out
    code, out, _ = ddbm("weights", "verify", "sketch-to-3d-64", "--check")
    assert code == 0 and b": ok: " in out and b"error at 0.7 0." in out
    code, _, err = ddbm("weights", "verify", "mine.safetensors")
    assert code == 2 and "of which no digest is recorded" in err


def test_a_name_is_downloaded_converted_and_used(ddbm, hub, tmp_path):
    """From the hub to an image: a pickle like the official code's, its import, and a translation."""
    hub.add("org/repo", {"old.pt": Path("old.pt").read_bytes()})
    picture(0, 30).save("sketch.png")
    code, out, err = ddbm("translate", "sketch.png", "picture.png", "-m", "foreign")
    assert (code, out.decode()) == (0, "picture.png\n") and "Convert" in err and "Warning" in err
    first = open_picture(tmp_path / "picture.png").tobytes()
    hub.requests.clear()
    code, _, err = ddbm("translate", "sketch.png", "picture.png", "-m", "foreign", "--overwrite")
    assert code == 0 and not hub.requests and "Convert" not in err
    assert open_picture(tmp_path / "picture.png").tobytes() == first
    assert ddbm("weights", "list")[1].decode().count("downloaded") == 1


def test_a_file_that_runs_code_is_refused(ddbm):
    class Evil:
        def __reduce__(self):
            return Path.touch, (Path("ran"),)

    body = io.BytesIO()
    torch.save({"weights": Evil()}, body)
    Path("evil.pt").write_bytes(body.getvalue())
    code, _, err = ddbm("weights", "import", "evil.pt", "--like", "foreign")
    assert code == 4 and "could run code" in err and not Path("ran").exists()
    with pytest.raises(ModelError):
        import_model(Path("evil.pt"), overwrite=True)


def test_export_and_import_again(ddbm):
    write_tiny(Path("mine.safetensors"))
    code, out, err = ddbm("weights", "export", "mine.safetensors", "folder", "--format", "diffusers")
    assert (code, out.decode()) == (0, "folder\n") and "cannot load this network" in err
    assert ddbm("weights", "import", "folder", "-o", "again.safetensors")[0] == 0
    assert Path("again.safetensors").read_bytes() == Path("mine.safetensors").read_bytes()
    code, _, err = ddbm("weights", "export", "mine.safetensors", "folder")
    assert code == 2 and "exists already" in err
    code, out, _ = ddbm("weights", "export", "mine.safetensors", "half.safetensors", "--dtype", "fp16", "--json")
    assert code == 0 and json.loads(out)["model"] == "tiny"
    assert Path("half.safetensors").stat().st_size < 0.7 * Path("mine.safetensors").stat().st_size


def test_push_and_use(ddbm, hub, monkeypatch):
    """Dry, without a token, then for good; and what was pushed is used by its name."""
    write_tiny(Path("mine.safetensors"), limits="few", data="squares")
    code, out, err = ddbm("weights", "push", "mine.safetensors", "me/bridge", "--dry-run")
    assert code == 0 and b"me/bridge" in out and "README.md" in err and "me/bridge" not in hub.repos
    code, _, err = ddbm("weights", "push", "mine.safetensors", "me/bridge")
    assert code == 4 and "hf auth login" in err
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, out, err = ddbm("weights", "push", "mine.safetensors", "me/bridge", "--json")
    assert code == 0 and set(json.loads(out)["files"]) == {"README.md", "model.safetensors"}
    text = hub.repos["me/bridge"].files["README.md"].decode()
    for words in ('license: "mit"', "squares", "few", "ddbm translate INPUT OUTPUT -m me/bridge", "image-to-image"):
        assert words in text
    assert hub.repos["me/bridge"].private
    picture(0, 30).save("sketch.png")
    assert ddbm("translate", "sketch.png", "picture.png", "-m", "me/bridge")[0] == 0
