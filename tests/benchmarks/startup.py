"""How long `ddbm --help` and commands that need no tensor take, against the least that such a command could take.

    python -m tests.benchmarks.startup [RUNS]

The floor is a bare `python -c "import typer, rich"`; all are run in turn, and the medians compared. "one option" is
what Typer makes of the least program with an option, for which it loads pydantic.
"""

import os
import statistics
import subprocess
import sys
import time

ONE_OPTION = """
import typer, rich
def main(json: bool = False): pass
typer.run(main)
"""

COMMANDS = {
    "floor": [sys.executable, "-c", "import typer, rich"],
    "one option": [sys.executable, "-c", ONE_OPTION],
    "ddbm --help": [sys.executable, "-m", "ddbm_cli", "--help"],
    "ddbm translate --help": [sys.executable, "-m", "ddbm_cli", "translate", "--help"],
    "ddbm weights list": [sys.executable, "-m", "ddbm_cli", "weights", "list"],
    "ddbm weights info": [sys.executable, "-m", "ddbm_cli", "weights", "info", "edges2handbags-vp-64"],
}

COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment, but that modules are compiled once and not in every run, as they are where they are installed."""


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=COMPILED)
    return time.perf_counter() - began


def main(runs: int) -> None:
    for command in COMMANDS.values():
        seconds(command)
    taken = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    floor = statistics.median(taken["floor"])
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"{name:24} {middle:6.3f} s   {middle / floor:4.2f} times the floor   (least {min(values):.3f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
