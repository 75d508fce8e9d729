"""The command that makes an image again, byte for byte, from the record in it."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ddbm_cli import __version__
from ddbm_cli.foundation.errors import ImageError, ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.imaging.io import format_of
from ddbm_cli.methods import method_of_record
from ddbm_cli.methods.base import ModelUse
from ddbm_cli.registry import read_registry
from ddbm_cli.samplers import GRIDS, SAMPLERS
from ddbm_cli.tasks.making import text_of
from ddbm_cli.tasks.search import Search
from ddbm_cli.tasks.show import image_record

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

CONDITIONS = ("prompt", "class", "guidance_scale", "image_guidance_scale", "perturbed_guidance")
"""Fields of a record that are options of the same name."""

OUTPUT = "samples"
"""The output folder of `ddbm sample` in a command."""


@dataclass(frozen=True)
class Recreation:
    """A command line for a shell, and why its result may differ from the image."""

    command: str
    notes: tuple[str, ...]


class Files(Protocol):
    """Finds the files that a record names by their digests."""

    def image(self, role: str, digest: str, name: str) -> Path:
        """Return an input; role: what it is, such as "input" or "mask"."""

    def model(self, use: ModelUse) -> str:
        """Return a reference of a model."""


def recreate(file: Path, *, search: Sequence[Path] = ()) -> Recreation:
    """Return the command that makes an image again; its inputs and its model are found by their digests.

    Args:
        file: an image that this program made.
        search: folders to search; by default the working folder, and the folders around the image.

    Raises:
        UsageError: the file is a model.
        ImageError: the image has no record, or an input is not found.
        ModelError: the model is not found.
    """
    if not format_of(file):
        raise UsageError(f"{file}: --command is for images", hint=f"show the model card with: ddbm show {file}")
    record = image_record(file)
    if "source" not in record:
        raise ImageError(
            f"{file}: does not store the name that seeds its noise (--metadata basic)",
            hint="translate with --metadata full, the default, to recreate images",
        )
    return _recreation(file, record, _Searched(Search(file, search)))


def command(file: Path, *, source: Path, models: Mapping[str, str | None]) -> str:
    """Return the command that makes an image again where its input and models are known.

    Args:
        file: an image that this program made.
        source: its input.
        models: references by option, such as {"--model": "runs/mine"}; None or a missing one is the recorded name.

    Raises:
        ImageError: the image has no record.
    """
    return command_of(image_record(file), file, source=source, models=models)


def command_of(
    record: Mapping[str, Any], file: Path, *, source: Path, models: Mapping[str, str | None], output: Path | None = None
) -> str:
    """Return the command that makes the image of a record again; arguments as of `command`.

    Args:
        file: the name of the image, whose extension decides the format.
        output: where the command writes; None for its own default.

    Raises:
        ImageError: the record is damaged.
    """
    made = _recreation(file, record, _Known(source, models)).command
    return made if output is None else f"{made} --output {quoted(str(output))}"


def searched(file: Path) -> Files:
    """Return what finds the files of an image in the working folder and the folders around the image."""
    return _Searched(Search(file))


class _Searched:
    """Finds files by searching folders."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def image(self, role: str, digest: str, name: str) -> Path:
        found = self._search.file(digest, name)
        if found is None:
            raise ImageError(
                f"the {role} of this image was not found: {name}, SHA-256 {digest[:12]}...",
                hint=self._hint("that file"),
            )
        return found

    def model(self, use: ModelUse) -> str:
        if use.reference:
            return use.reference
        entry = read_registry().get(use.name)
        if entry and entry.builtin and use.sha256 in ("", sha256_of_file(entry.builtin_file)):
            return use.name
        found = self._search.model(use.sha256, use.name)
        if found is None:
            raise ModelError(
                f"the model of this image was not found: {use.name}, SHA-256 {use.sha256[:12]}...",
                hint=self._hint("the model"),
            )
        return str(found)

    def _hint(self, what: str) -> str:
        return (
            f"pass the folder with {what}: --search FOLDER (searched: {', '.join(map(str, self._search.folders[:2]))})"
        )


class _Known:
    """Takes the input and the references that are given."""

    def __init__(self, source: Path, models: Mapping[str, str | None]) -> None:
        self._source = source
        self._models = models

    def image(self, role: str, digest: str, name: str) -> Path:
        return self._source

    def model(self, use: ModelUse) -> str:
        return self._models.get(use.option) or use.reference or use.name


def _recreation(file: Path, record: Mapping[str, Any], files: Files) -> Recreation:
    try:
        words = [*_words(file, record, files)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise ImageError(f"{file}: its record is damaged", hint=f"see what it holds: ddbm show {file} --json") from None
    return Recreation(" ".join(map(quoted, words)), tuple(_notes(record)))


def plain_options(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a record that concern no file: sampling, conditions, and how images are fitted and saved.

    True stands for an option without a value.
    """
    options: dict[str, Any] = {
        "--sampler": spell(build(SAMPLERS, record["sampler"], what="sampler")),
        "--grid": spell(build(GRIDS, record["grid"], what="grid")),
        "--steps": int(record["steps"]),
        "--seed": int(record["seed"]),
        "--dtype": DTYPES.get(record["dtype"], "auto"),
    }
    options |= {f"--{name.replace('_', '-')}": record[name] for name in CONDITIONS if name in record}
    options |= {"--direction": record["direction"]} if "direction" in record else {}
    if record["source_sha256"] == "":
        return options
    options |= {"--fit": record["fit"], "--prepare": record.get("prepare", "none")}
    options |= {f"--{name}": record[name] for name in ("objects", "alpha", "bits", "tile") if name in record}
    options |= {"--tile-overlap": int(record["tile_overlap"])} if "tile" in record else {}
    options |= {"--start": int(record["noise_draw"])} if record.get("noise_draw") else {}
    options |= {"--quality": int(record["quality"])} if "quality" in record else {}
    return options | ({"--keep-size": True} if record["keep_size"] else {})


def option_words(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as words of a command line."""
    for option, value in options.items():
        if value is True:
            yield option
        else:
            yield from (f"{option}={value}",) if str(value).startswith("-") else (option, str(value))


def _words(file: Path, record: Mapping[str, Any], files: Files) -> Iterator[str]:
    method = method_of_record(record)
    from_noise = record["source_sha256"] == ""
    edits = not from_noise and "draw" not in record
    options: dict[str, Any] = method.options(record) if edits else {}
    options |= {use.option: files.model(use) for use in method.models(record)}
    options |= plain_options(record)
    options |= {"--device": record["device"]} if "device" in record else {}
    options |= {f"--{name}": True for name in ("compile", "graph") if record.get(name) is True}
    if from_noise:
        yield from ("ddbm", "sample", "--start", str(int(record["source"])), "-n", "1")
    else:
        source = files.image("input", record["source_sha256"], record["source"])
        if text_of(source.name) != record.get("noise_name", record["source"]):
            options |= {"--noise-name": record.get("noise_name", record["source"])}
        if "draw" in record:
            yield from ("ddbm", "sample", str(source), *_draw_words(record))
            if "truth_sha256" in record:
                options |= {"--encode": files.image("truth", record["truth_sha256"], record.get("truth_file", ""))}
        else:
            yield from ("ddbm", "translate", str(source))
            options |= _guide_options(record, files)
            options |= {"--format": format_of(file)} if format_of(source) != format_of(file) else {}
    yield from option_words(options)
    if from_noise or "draw" in record:
        yield from ("--output", OUTPUT)


def _draw_words(record: Mapping[str, Any]) -> Iterator[str]:
    between = record.get("between")
    yield from ("--start", str(int(record["draw"])), "-n", "2" if between else "1")
    if between:
        yield from ("--interpolate", str(int(between[1]) - 1))


def _guide_options(record: Mapping[str, Any], files: Files) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "guide_sha256" in record:
        file = files.image("guide", record["guide_sha256"], record.get("guide_file", ""))
        options["--guide"] = f"{record['guide']}:{file}"
    elif "guide" in record:
        options["--guide"] = f"{record['guide']}:sigma={record['guide_sigma']}"
    if "mask_sha256" in record:
        options["--mask"] = files.image("mask", record["mask_sha256"], record.get("mask_file", ""))
    return options


def _notes(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the command may make another image."""
    tool = record.get("tool")
    if tool != f"ddbm {__version__}":
        yield f"made by {tool}, and this is ddbm {__version__}: pixels may differ"
    if record.get("source_sha256") and "noise_name" not in record:
        yield "the record does not hold the name that seeds the noise: an input from a sub-folder gets other noise"
    if "device" in record or "batch_size" in record:
        yield (
            f"made on {record.get('device', 'cpu')} in batches of several images:"
            " single pixels may differ by one level of 255"
        )


def quoted(word: str) -> str:
    """Return a word for a POSIX shell; control characters and bytes that are not UTF-8 are written as escapes."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in os.fsencode(word)
    )
    return f"$'{escaped}'"
