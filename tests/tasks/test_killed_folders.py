"""Runs over a folder that are killed at random moments: no output is lost or damaged, and the manifest is true."""

import pytest

from ddbm_cli.tasks.translate import request, run
from tests import forked
from tests.tasks.test_folders import check_manifest
from tests.tasks.test_translate import contents
from tests.tiny import picture, write_tiny

DRIVER = """
import os, random, signal, sys, time
from ddbm_cli.tasks.translate import request, run

source, output, model, kills, processes, span = sys.argv[1:]
chance = random.Random(0)

def start(rank):
    process = os.fork()
    if process == 0:
        shard = (rank, int(processes))
        how = {"sampler": "sde", "nfe": 4, "shard": shard, "manifest": True}
        asked = request(source=source, output=output, model=model, device="cpu", **how)
        for event in run(asked):
            pass
        os._exit(0)
    return process

for _ in range(int(kills)):
    running = [start(rank) for rank in range(int(processes))]
    time.sleep(chance.uniform(0, float(span)))
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
for process in [start(rank) for rank in range(int(processes))]:
    assert os.waitpid(process, 0)[1] == 0
"""


def check_kills(root, *, images, kills, processes, span):
    """Kill a run many times, end it, and compare the folder with that of an undisturbed run."""
    model = str(write_tiny(root / "tiny.safetensors"))
    (root / "in").mkdir()
    for index in range(images):
        picture(index, 16 + index % 9).save(root / "in" / f"{index:03d}.png")
    whole = request(source=str(root / "in"), output=root / "whole", model=model, device="cpu", sampler="sde", nfe=4)
    list(run(whole))
    words = (root / "in", root / "out", model, kills, processes, span)
    assert forked.run(DRIVER, *words, action=forked.script)[0] == 0
    assert contents(root / "out") == contents(root / "whole")
    assert sorted(path.name for path in (root / "out").iterdir()) == [
        *sorted(contents(root / "whole")),
        "manifest.jsonl",
    ]
    lines = check_manifest(root, count=images)
    assert {line["output"] for line in lines} == set(contents(root / "out"))


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_folder_survives_some_kills(tmp_path, processes):
    check_kills(tmp_path, images=24, kills=4, processes=processes, span=0.6)


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_of_300_images_survives_50_kills(tmp_path, processes):
    check_kills(tmp_path, images=300, kills=50, processes=processes, span=1.5)
