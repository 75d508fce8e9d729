"""Small files whose cards claim large networks: training, translation and import refuse them without memory."""

import json
from pathlib import Path

from ddbm_cli.models.card import describe_card
from ddbm_cli.models.checkpoint import write_tensors
from ddbm_cli.registry.header import HEADER_KEY
from tests import forked
from tests.tiny import tiny_card, tiny_weights, write_pairs

TRY = """
import json, resource, sys
import torch
from ddbm_cli.cli.main import main

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = None
for arguments in map(json.loads, sys.stdin):
    sys.argv = ["ddbm", *arguments]
    try:
        main()
    except SystemExit as stop:
        print(json.dumps([arguments, stop.code]))
    before = before or peak()  # the first one imports what all need
    assert peak() - before < 100, (arguments, before, peak())
"""
LIES = {
    "channels": {"network": {"channels": 8192}},
    "more channels": {"network": {"channels": 10**12}},
    "levels": {"network": {"multipliers": [1, 2, 4, 8, 16, 32]}},
    "blocks": {"network": {"blocks": 300}},
    "classes": {"network": {"classes": 10**8}},
    "size": {"preprocess": {"size": 4096}},
    "steps": {"defaults": {"steps": 10**12}},
}


def test_a_card_that_claims_more_than_its_file_takes_no_memory(tmp_path):
    weights, body, commands = tiny_weights(tiny_card()), describe_card(tiny_card()), []
    data = str(write_pairs(tmp_path / "data", 2))
    source = str(tmp_path / "data" / "A" / "000.png")
    for name, lie in LIES.items():
        file = str(tmp_path / f"{name}.safetensors")
        card = {key: value | lie.get(key, {}) if isinstance(value, dict) else value for key, value in body.items()}
        write_tensors(Path(file), weights, {HEADER_KEY: json.dumps(card)})
        if name != "steps":  # a training takes no defaults of sampling from it
            commands.append(["train", data, "--from", file, "--steps", "1", "-o", str(tmp_path / "run")])
        commands.append(["translate", source, str(tmp_path / "out.png"), "-m", file])
        commands.append(["weights", "import", file, "-o", str(tmp_path / "imported.safetensors")])
    code, out, err = forked.run(TRY, action=forked.script, stdin="\n".join(map(json.dumps, commands)).encode())
    assert code == 0, err[-3000:]
    assert [json.loads(line) for line in out.decode().splitlines()] == [[each, 4] for each in commands], err
    assert b"unexpected" not in err and err.count(b"Error: ") == len(commands)
    assert b".tmp" not in err
    assert not (tmp_path / "run").exists() and not (tmp_path / "imported.safetensors").exists()
