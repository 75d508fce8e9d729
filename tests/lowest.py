"""The lowest versions that pyproject.toml allows, as a file of constraints for pip.

    python -m tests.lowest [EXTRA ...] > constraints.txt

torch is left out: its oldest versions have no wheels for all platforms. Write no bound that these do not meet together.
"""

import re
import sys
import tomllib
from pathlib import Path

LEFT_OUT = {"torch", "torchvision"}


def constraints(*extras: str) -> list[str]:
    """Return one `name==version` per direct dependency, and per dependency of the extras."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    found = [re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", line) for line in lines]
    return sorted({f"{each[1]}=={each[2]}" for each in found if each and each[1] not in LEFT_OUT})


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints(*sys.argv[1:])) + "\n")
