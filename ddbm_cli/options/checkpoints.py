"""Names of the checkpoints in a run's folder, as the command line and the training have them."""

import re
from pathlib import Path

FOLDER = "checkpoints"

PATTERN = re.compile(r"step_(\d{7,13})\.safetensors")


def name_of(step: int) -> str:
    """Return the file name of the checkpoint of a step."""
    return f"step_{step:07d}.safetensors"


def step_of(file: Path) -> int | None:
    """Return the step in a checkpoint's name, None where it is no such name."""
    found = PATTERN.fullmatch(file.name)
    return int(found[1]) if found else None


def divided(resume: Path) -> tuple[Path, int | None]:
    """Return the run and the step that RUN/checkpoints/step_N.safetensors stands for; of a run, no step."""
    step = step_of(resume)
    if step is None or resume.absolute().parent.name != FOLDER:
        return resume, None
    return resume.parent.parent if resume.parent.name == FOLDER else resume.absolute().parent.parent, step
