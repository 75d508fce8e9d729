"""What a file says of itself: a model's card, or the settings that a picture was made with."""

import json
import shlex
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.imaging.io import format_of, read_text
from ddbm_cli.models.card import describe_card, read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.samplers import GRIDS, SAMPLERS
from ddbm_cli.tasks.work import TEXT_KEY

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

CONDITIONS = ("prompt", "class", "guidance_scale", "image_guidance_scale")
"""What a model was told, under the names of its options."""

GUIDE = {"blur": "blur:sigma={guide_sigma}", "colour": "colour:COLOURS"}
"""How a guide is written; the names of other files than the source are not kept."""


def show(file: Path) -> dict[str, Any]:
    """Return a model's card with its file's facts, or a picture's settings.

    Raises:
        ModelError: no such file, no safetensors file, or one without a card.
        ImageError: a picture without settings.
    """
    if file.is_file() and format_of(file):
        return picture_settings(file)
    card = describe_card(read_card(read_header(file), file=file.name))
    card["splits"] = list(card["splits"])  # the filters themselves are for `compare`, not for eyes
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of_file(file), **card}


def picture_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a picture that this program made.

    Raises:
        ImageError: there are none.
    """
    try:
        found = json.loads(read_text(file)[TEXT_KEY])
        found["sampler"]["name"], found["grid"]["name"]
        return dict(found)
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ImageError(
            f"{file}: tells nothing of how it was made", hint="only pictures written by ddbm carry their settings"
        ) from None


def command(file: Path, *, model: str | None = None, source_model: str | None = None) -> str:
    """Return the shell line that makes a picture again, from a source of the same name.

    Args:
        file: the picture. model, source_model: how these are named on the line; by their own names if not given.

    Raises:
        UsageError: the file is a model.
        ImageError: the picture does not say how it was made.
    """
    if not format_of(file):
        raise UsageError(f"{file}: --command is for pictures", hint=f"show its card with: ddbm show {file}")
    made = picture_settings(file)
    options = {
        "--model": model or made["model"],
        "--sampler": spell(build(SAMPLERS, made["sampler"], what="sampler")),
        "--grid": spell(build(GRIDS, made["grid"], what="grid")),
        "--steps": made["steps"],
        "--seed": made["seed"],
        "--dtype": DTYPES.get(made["dtype"], "auto"),
        "--fit": made["fit"],
    }
    if "quality" in made:
        options["--quality"] = made["quality"]
    options |= {f"--{name.replace('_', '-')}": made[name] for name in CONDITIONS if name in made}
    if format_of(Path(made["source"])) != format_of(file):
        options["--format"] = format_of(file)
    words = ["ddbm", "translate", made["source"]]
    if made["start"]["name"] == "noised":
        options |= {"--method": "sdedit", "--strength": made["start"]["strength"]}
        options |= {"--repeats": made["start"].get("repeats", 1)}
        options |= {"--guide": GUIDE[made["guide"]].format(**made)} if "guide" in made else {}
    if "mask_sha256" in made:
        options |= {"--mask": "MASK"}
    if "ddib" in made:
        of_sources, of_targets = made["ddib"]
        options |= {"--method": "ddib", "--source-model": source_model or of_sources, "--model": model or of_targets}
    if "draw" in made:  # with those that lie between it and the next
        words = ["ddbm", "sample", made["source"], "-n", str(made["draw"] + (2 if "between" in made else 1))]
        options |= {"--interpolate": made["between"][1] - 1} if "between" in made else {}
        options |= {"--encode": "TRUTH"} if "truth_sha256" in made else {}
        options.pop("--format", None)
    if not made.get("source_sha256", "-"):  # a sample; those before it are made, too
        words = ["ddbm", "sample", "-n", str(int(made["source"]) + 1)]
        options.pop("--fit"), options.pop("--format", None)
    if words[1] == "sample":
        options["--output"] = "samples"
    words += [str(part) for pair in options.items() for part in pair]
    return shlex.join(words + (["--keep-size"] if made["keep_size"] else []))
