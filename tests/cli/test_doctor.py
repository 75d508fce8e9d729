"""`ddbm doctor`: a sound machine passes, and each fault is named with what to do about it."""

import json

import pytest

from ddbm_cli.foundation.events import Diagnosed
from ddbm_cli.tasks import doctor

pytestmark = pytest.mark.usefixtures("hub")


@pytest.fixture
def not_run(monkeypatch):
    """Neither the built-in model nor convolutions are computed: they are the subject of the first test."""
    done = Diagnosed(name="Run", ok=True, found="not run")
    monkeypatch.setattr(doctor, "_builtin_run", lambda device: done)
    monkeypatch.setattr(doctor, "_convolution", lambda device, dtype: 1e9)


def checks(ddbm, *options, **environment):
    code, out, _ = ddbm("doctor", "--device", "cpu", "--json", *options, **environment)
    return code, {record["name"]: record for record in map(json.loads, out.splitlines())}


def test_a_sound_machine_passes(ddbm):
    code, found = checks(ddbm)
    assert code == 0 and {"Device", "fp32", "Registry", "Built-in", "Run"} <= found.keys()
    assert {"Downloads", "Converted", "Network"} <= found.keys() and found["Network"]["ok"]
    assert "GiB free" in found["Downloads"]["found"] and "without a token" in found["Network"]["found"]
    assert "4 images of 64x64" in found["Run"]["found"] and "cpu" in found["Device"]["found"]
    assert all(each["hint"] for each in found.values() if not each["ok"])


@pytest.mark.usefixtures("not_run")
def test_people_get_a_line_for_each_check_and_one_for_what_to_do(ddbm, tmp_path):
    (tmp_path / "broken.toml").write_text("[model\n")
    code, out, _ = ddbm("doctor", "--device", "cpu", DDBM_WEIGHTS=str(tmp_path / "broken.toml"))
    lines = out.decode().splitlines()
    assert code == 1 and "\x1b" not in out.decode()
    place = next(number for number, line in enumerate(lines) if line.startswith("!!  Registry"))
    assert "broken.toml" in lines[place] and lines[place + 1].strip().startswith("Hint: ")


@pytest.mark.usefixtures("not_run")
def test_a_number_type_that_fails_only_limits(ddbm, monkeypatch):
    real = doctor._convolution

    def fail(device, dtype):
        if str(dtype) == "torch.float16":
            raise RuntimeError("not implemented for 'Half'")
        return real(device, dtype)

    monkeypatch.setattr(doctor, "_convolution", fail)
    code, found = checks(ddbm)
    assert code == 0 and not found["fp16"]["ok"] and "Half" in found["fp16"]["found"]
    assert found["fp32"]["ok"] and found["bf16"]["ok"]


@pytest.mark.usefixtures("not_run")
def test_a_damaged_built_in_model_is_noticed(ddbm, monkeypatch):
    monkeypatch.setattr(doctor, "sha256_of_file", lambda path: "0" * 64)
    code, found = checks(ddbm)
    assert code == 1 and not found["Built-in"]["ok"] and "install" in found["Built-in"]["hint"]


def test_an_unknown_device_is_wrong_usage(ddbm):
    code, _, err = ddbm("doctor", "--device", "abacus")
    assert code == 2 and "abacus" in err and len(err.splitlines()) == 2


@pytest.mark.usefixtures("not_run")
def test_the_network_only_limits(ddbm, monkeypatch):
    from huggingface_hub import constants

    code, found = checks(ddbm, HF_TOKEN="hf_secret")
    assert "with a token" in found["Network"]["found"]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, found = checks(ddbm)
    assert code == 0 and not found["Network"]["ok"] and "cannot be reached" in found["Network"]["found"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, found = checks(ddbm)
    assert code == 0 and found["Network"]["ok"] and "HF_HUB_OFFLINE" in found["Network"]["found"]


@pytest.mark.usefixtures("not_run")
def test_a_full_disk_and_a_folder_of_others_are_noticed(ddbm, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**60)
    code, found = checks(ddbm)
    assert code == 0 and not found["Downloads"]["ok"] and "HF_HOME" in found["Downloads"]["hint"]
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    code, found = checks(ddbm)
    assert code == 1 and "cannot be written" in found["Converted"]["found"]
