"""A folder of hostile inputs, translated by an ordinary user: each is done or named with a reason, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.tasks import hostile
from tests.tiny import write_tiny

MOST_MEGABYTES = 2048
"""Memory of the whole process, of which torch alone takes about 300."""

DRIVER = """
import pathlib, resource, sys
from ddbm_cli.cli.main import main
try:
    main()
finally:
    pathlib.Path("memory").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""

LEFT_OUT = {b"pipe.png", b"socket.png", b"null.png", b"zero.png", b"terminal.png", b"to pipe.png"}
"""What the header counts as left out, because it is no regular file."""

LINKS = {b"loop", b"up.png", b"to folder.png", b"folder.png"}
"""Folders, and links to folders that are read in any case."""

HIDDEN = {b"..png.png"}


def ordinary() -> list[str]:
    """Words that take the rights of an administrator away, so that what may not be read cannot be read."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("an administrator may read everything")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def spelled(name: bytes) -> str:
    return "in/" + os.fsdecode(name)


def check(folder: Path, count: int, seconds: float) -> None:
    """Translate a folder of so many inputs, and check what became of each."""
    readable, others = hostile.write(folder, count)
    before = state(folder / "canary")
    words = ["-m", str(write_tiny(folder / "tiny.safetensors")), "-r", "--json", "--device", "cpu"]
    try:
        run = subprocess.run(
            [*ordinary(), sys.executable, "-c", DRIVER, "translate", "in", "out", *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    finally:
        (folder / "in" / "locked").chmod(0o700)
    assert b"Traceback" not in run.stderr and b"unexpected" not in run.stderr, run.stderr.decode()[-3000:]
    assert run.returncode == 3
    events = [json.loads(line) for line in run.stdout.splitlines()]
    named = Counter(event["input"] for event in events if event["event"] in ("written", "failed"))
    done = {event["input"] for event in events if event["event"] == "written"}
    assert max(named.values()) == 1
    for event in events:
        if event["event"] == "failed":
            assert event["error"] and event["hint"] and "\n" not in event["error"]
    assert not [name for name in readable if spelled(name) not in done and name not in HIDDEN]
    assert not [name for name in others if spelled(name) not in named and name not in LEFT_OUT | LINKS]
    facts = next(event for event in events if event["event"] == "planned")["facts"]["Input"]
    assert "folder reached twice" in facts and f"{len(LEFT_OUT)} not a regular file" in facts
    assert state(folder / "canary") == before
    assert {each.name for each in folder.iterdir()} == {"in", "out", "canary", "tiny.safetensors", "memory"}
    outputs = [file for file in (folder / "out").rglob("*") if file.is_file()]
    assert len(outputs) == len(done)
    assert int((folder / "memory").read_text()) / 1024 < MOST_MEGABYTES


@pytest.mark.timeout(120)
def test_hostile_inputs_are_done_or_named(tmp_path):
    check(tmp_path, 60, seconds=100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_hundred_hostile_inputs_are_done_or_named(tmp_path):
    check(tmp_path, hostile.COUNT, seconds=500)
    assert len([*(tmp_path / "in").iterdir()]) == hostile.COUNT
