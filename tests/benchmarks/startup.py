"""The time of `ddbm --help` and of commands that need no tensors, relative to an import of their libraries.

    python -m tests.benchmarks.startup [RUNS]

The reference is `python -c "import typer, rich"`. All commands are run in turn, and the medians of their processor time
are compared. "one option" is the smallest Typer program with an option, for which Typer imports pydantic.
"""

import os
import resource
import statistics
import subprocess
import sys

ONE_OPTION = """
import typer, rich
def main(json: bool = False): pass
typer.run(main)
"""

COMMANDS = {
    "import typer, rich": [sys.executable, "-c", "import typer, rich"],
    "one option": [sys.executable, "-c", ONE_OPTION],
    "ddbm --help": [sys.executable, "-m", "ddbm_cli", "--help"],
    "ddbm translate --help": [sys.executable, "-m", "ddbm_cli", "translate", "--help"],
    "ddbm train --help": [sys.executable, "-m", "ddbm_cli", "train", "--help"],
    "ddbm compare --help": [sys.executable, "-m", "ddbm_cli", "compare", "--help"],
    "ddbm weights list": [sys.executable, "-m", "ddbm_cli", "weights", "list"],
    "ddbm weights info": [sys.executable, "-m", "ddbm_cli", "weights", "info", "edges2handbags-vp-64"],
}

COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment; modules are compiled once and not in every run, as after an installation."""


def seconds(command: list[str]) -> float:
    """Return the processor time of a command, which other processes disturb less than its duration."""
    began = _children()
    subprocess.run(command, check=True, capture_output=True, env=COMPILED)
    return _children() - began


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(runs: int) -> None:
    for command in COMMANDS.values():
        seconds(command)
    taken = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    floor = statistics.median(taken["import typer, rich"])
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"{name:24} {middle:6.3f} s   {middle / floor:4.2f} times the reference   (minimum {min(values):.3f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
