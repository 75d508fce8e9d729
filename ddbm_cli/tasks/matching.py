"""Which files an evaluation compares: pairs of one name, two sets of any names, draws of one source, or statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.walk import Problem, Skipped, list_images, stem_key
from ddbm_cli.metrics.feed import Item
from ddbm_cli.metrics.statistics import SUFFIX
from ddbm_cli.options.evaluate import EvaluateRequest

Files = dict[str, Path]


@dataclass
class Found:
    """What an evaluation compares.

    items: the outputs with their partners. others: targets of an unpaired comparison.
    statistics: a file in place of targets. has_draws: several outputs of each source.
    missing: targets without an output. odd: outputs without a partner. unmatched: no name fits, so names are ignored.
    skipped, problems: other files in the folders.
    """

    items: list[Item] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)
    statistics: Path | None = None
    has_draws: bool = False
    missing: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    unmatched: bool = False
    skipped: Skipped = field(default_factory=Skipped)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_unpaired(self) -> bool:
        """Whether the targets are a set, and not partners of the outputs."""
        return bool(self.others) or self.statistics is not None


def find(request: EvaluateRequest, *, sets_only: bool) -> Found:
    """Return the files to compare.

    Args:
        request: the options.
        sets_only: no requested metric needs pairs, so outputs and targets may be two sets.

    Raises:
        UsageError: a path is missing or has no images, or nothing belongs together.
    """
    found = Found()
    outputs = _named(request.outputs, found)
    targets: Files = {}
    if request.targets is not None and _is_statistics(request.targets):
        found.statistics = request.targets
    elif request.targets is not None:
        targets = _named(request.targets, found)
    sketches = {} if request.sketches is None else _named(request.sketches, found)
    draws = [_named(folder, found) for folder in request.draws]
    if not draws and not (request.prior or request.unpaired or outputs.keys() & targets.keys()):
        grouped = _by_source(outputs)
        if grouped and (not targets or grouped.keys() & targets.keys()):
            found.has_draws = True
            return _with_draws(found, grouped, targets, sketches)
    if targets and request.outputs.is_file() and len(outputs) == len(targets) == 1:
        targets = dict(zip(outputs, targets.values(), strict=True))  # two files are a pair, with any names
    unmatched = bool(targets) and not outputs.keys() & targets.keys() and sets_only
    if targets and (request.unpaired or unmatched):
        found.unmatched = unmatched and not request.unpaired
        found.others = [Item(name=name, output=file) for name, file in targets.items()]
        targets = {}
    found.has_draws = bool(draws)
    return _paired(found, request, outputs, targets, sketches, draws)


def _paired(
    found: Found, request: EvaluateRequest, outputs: Files, targets: Files, sketches: Files, draws: list[Files]
) -> Found:
    partners = [*filter(None, (targets, sketches)), *draws]
    names = [name for name in outputs if all(name in files for files in partners)]
    if not names:
        named = (request.targets, request.sketches, *request.draws)
        raise UsageError(
            f"no output in {request.outputs} has a partner in {', '.join(str(path) for path in named if path)}",
            hint="give files that belong together the same name, or compare two sets: --unpaired --metrics fid,swd",
        )
    found.items = [
        Item(
            name=name,
            output=outputs[name],
            target=targets.get(name),
            sketch=sketches.get(name),
            draws=tuple(files[name] for files in draws),
        )
        for name in names
    ]
    found.missing = [str(path) for name, path in targets.items() if name not in outputs]
    found.odd = [str(outputs[name]) for name in outputs if name not in set(names)]
    return found


def _with_draws(found: Found, grouped: Mapping[str, list[Path]], targets: Files, sketches: Files) -> Found:
    """Compare the draws of each source with each other, and the first one with the target and the sketch."""
    partners = [*filter(None, (targets, sketches))]
    names = [name for name in grouped if all(name in files for files in partners)]
    found.items = [
        Item(
            name=name,
            output=grouped[name][0],
            target=targets.get(name),
            sketch=sketches.get(name),
            draws=tuple(grouped[name][1:]),
        )
        for name in names
    ]
    found.missing = [str(path) for name, path in targets.items() if name not in grouped]
    found.odd = [str(grouped[name][0].parent) for name in grouped if name not in set(names)]
    return found


def _by_source(outputs: Files) -> dict[str, list[Path]]:
    """Return the draws of each source in the layout of `ddbm sample`, SOURCE/000.png; nothing for other layouts."""
    grouped: dict[str, list[Path]] = {}
    for name, file in sorted(outputs.items()):
        path = PurePosixPath(name)
        if not (path.name.isdecimal() and len(path.name) >= 3 and len(path.parts) > 1):
            return {}
        grouped.setdefault(path.parent.as_posix(), []).append(file)
    return grouped if all(len(draws) > 1 for draws in grouped.values()) else {}


def _is_statistics(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def _named(path: Path, found: Found) -> Files:
    """Return the images of a folder, or one, by their keys; add what was left out to `found`."""
    if path.is_file():
        return {stem_key(path.name): path}
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder", hint="check the path")
    listing = list_images(path)
    named = listing.stems()
    found.skipped.update(listing.skipped)
    found.problems.extend(listing.problems)
    if not named:
        left = f"; left out: {listing.skipped}" if listing.skipped else ""
        raise UsageError(f"{path}: no images in it{left}", hint="pass a folder with images in it")
    return named
