"""What models do not expect of their inputs, reported while a folder is translated."""

from collections.abc import Iterator

from ddbm_cli.tasks.events import Noticed
from ddbm_cli.tasks.making import Loaded, source_name

MOST_NOTICES = 5
"""Images of which one kind of finding is reported one by one."""


class Notices:
    """What models do not expect of their inputs: the first images of each kind are named, the others counted."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def of(self, loaded: Loaded) -> Iterator[Noticed]:
        """Yield what there is about an image."""
        for finding in loaded.findings:
            names = self._found.setdefault(finding.kind, [])
            names.append(source_name(loaded.job))
            if len(names) <= MOST_NOTICES:
                yield Noticed(message=f"{names[-1]}: {finding.message}", hint=finding.hint)

    def rest(self) -> Iterator[Noticed]:
        """Yield how many images were not named."""
        for kind, names in self._found.items():
            if len(names) > MOST_NOTICES:
                more = names[MOST_NOTICES:]
                yield Noticed(message=f"{len(more)} more images like those: {kind}", names=more)
