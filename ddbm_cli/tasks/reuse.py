"""Settings of an image that this program made, as options for other images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.fields import declared
from ddbm_cli.methods import method_of_record
from ddbm_cli.options.check import read
from ddbm_cli.options.translate import TranslateCommand
from ddbm_cli.tasks.recreate import option_words, plain_options, searched
from ddbm_cli.tasks.show import image_record

BUDGETS = ("nfe", "steps")


def reuse(file: Path, given: Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Return the options of `ddbm translate` with those of an image added.

    Options that are given win. What belongs to one input is not reused: its name, its mask, its colours. The model is
    found by its digest, as `ddbm show --command` finds it, unless another one is given.

    Args:
        file: an image that this program made. given: values by field, as the command line gives them.

    Returns:
        The options, the SHA-256 of the image's model ("" where another one is given), and what was added, in words.

    Raises:
        ImageError: the image has no record. ModelError: its model is not found.
        UsageError: it was made from noise.
    """
    record = image_record(file)
    try:
        found = _options(file, record, given)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise ImageError(f"{file}: its record is damaged", hint=f"see what it holds: ddbm show {file} --json") from None
    options = {flag: option for option in declared(TranslateCommand).values() for flag in option.flags}
    added: dict[str, Any] = {}
    words: dict[str, Any] = {}
    for flag, value in found.items():
        option = options[flag]
        if option.name in given:
            continue
        added[option.name] = True if value is True else read(option, str(value))
        words[flag] = value
    digest = "" if "model" in given else str(record["model_sha256"])
    return {**added, **given}, digest, " ".join(option_words(words))


def _options(file: Path, record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    if record.get("source_sha256") == "":
        raise UsageError(
            f"{file}: made from noise, and translations start from images",
            hint="pass an image that ddbm translate made; or sample more: ddbm sample",
        )
    method = method_of_record(record)
    same = given.get("method", method.name) == method.name
    files = searched(file)
    wanted = [use for use in method.models(record) if use.option.removeprefix("--").replace("-", "_") not in given]
    options: dict[str, Any] = {use.option: files.model(use) for use in wanted} if same else {}
    if same and "draw" not in record:
        options |= method.options(record)
    options |= plain_options(record)
    if "prompts" in given:
        options.pop("--prompt", None)
    if not same or "model" in given:
        options.pop("--direction", None)
    if "sampler" in given or any(name in given for name in BUDGETS):
        options.pop("--steps")
        if not any(name in given for name in BUDGETS):
            options["--nfe"] = int(record["nfe"])
        if "sampler" in given or record["grid"]["name"] == "timesteps":
            options.pop("--grid")  # the grid fits one sampler, or one number of steps
    if same and record.get("guide") == "blur":
        options["--guide"] = f"blur:sigma={record['guide_sigma']}"
    return options
