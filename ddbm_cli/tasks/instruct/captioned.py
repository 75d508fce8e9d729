"""Triplets from captions, as in InstructPix2Pix (arXiv:2211.09800, Sec. 3.1), in three steps.

OUT/captions/NAME.json      the edit of a caption, where an endpoint was asked for it
OUT/before, OUT/after       images of candidates; those that are not kept are removed when all of a caption are measured
OUT/candidates/NAME.json    similarities of a caption's candidates, and what was random in each

Each file is written when its part is done, under a name that depends on texts and settings. So an interrupted run is
resumed from there, and other thresholds choose again among the candidates; what was removed is made again.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import remove_leftovers, write_text
from ddbm_cli.metrics.pair_similarity import Similarities
from ddbm_cli.options.captions import key_of
from ddbm_cli.options.data import InstructRequest
from ddbm_cli.tasks.events import BatchStarted, Event, Made, Noticed, Planned
from ddbm_cli.tasks.instruct.candidates import SETTINGS, Draw, Studio
from ddbm_cli.tasks.instruct.captions import Caption, CaptionError, read_captions, text_of
from ddbm_cli.tasks.instruct.endpoint import Endpoint
from ddbm_cli.tasks.instruct.filters import Counts, Scores, chosen, passed
from ddbm_cli.tasks.instruct.triplets import SIDES, Triplets

ANSWERS, CANDIDATES = "captions", "candidates"
"""Folders of what is kept besides the triplets."""

KIND = "captions"
"""The kind of edit in the list."""

DAMAGED = "remove this file, and run the same command again"


def captioned(request: InstructRequest, triplets: Triplets) -> Iterator[Event]:
    """Make triplets of a list of captions; yields what happens. A bad caption is skipped and reported.

    Raises:
        UsageError: the list or the model cannot be used, or a file in the folder is damaged.
        ModelError: a model is not available, or the endpoint does not answer.
        ImageError: an image cannot be written or read.
    """
    captions, problems = read_captions(request.pictures, ask=request.endpoint is not None)
    asked = sum(not caption.edit for caption in captions)
    total = len(captions) * request.candidates + asked + len(problems)
    yield Planned(total=total, facts=_facts(request, len(captions), asked))
    for problem in problems:
        yield triplets.fail(request.pictures, problem)
    if request.dry_run:
        return
    yield from Studio.checking(request)
    for name in (ANSWERS, CANDIDATES, *SIDES) if asked else (CANDIDATES, *SIDES):
        (triplets.folder / name).mkdir(parents=True, exist_ok=True)
        remove_leftovers(triplets.folder / name, exclusive=False)
    remove_leftovers(triplets.folder, exclusive=False)
    work, answered = _Work(request, triplets), []
    for caption in captions:
        try:
            answered.append((yield from work.answered(caption)))
        except CaptionError as error:
            yield triplets.fail(request.pictures, error)
    for caption in answered:
        try:
            yield from work.make(caption)
        except CaptionError as error:
            yield triplets.fail(request.pictures, error)
    hint = "" if work.counts.kept else "pass more --candidates, or lower thresholds: see --help, Filters"
    yield Noticed(message=work.counts.words(), hint=hint)


class _Work:
    """The steps of a run, for one caption after another."""

    def __init__(self, request: InstructRequest, triplets: Triplets) -> None:
        self._request, self._triplets = request, triplets
        self._settings = [getattr(request, name) for name in SETTINGS]
        self._studio: Studio | None = None
        self._sampled: set[str] = set()
        self.counts = Counts(request)

    def answered(self, caption: Caption) -> Generator[Event, None, Caption]:
        """Return a caption with its edit: that of the list, that of an earlier run, or the endpoint's.

        Raises:
            CaptionError: the endpoint has no usable edit. ModelError: it does not answer.
        """
        if caption.edit:
            return caption
        file = self._triplets.folder / ANSWERS / f"{caption.name()}.json"
        if file.exists() and not self._request.overwrite:
            return _answer_in(file, caption)
        model = str(self._request.endpoint_model)
        endpoint = Endpoint(str(self._request.endpoint), model, key_of(self._request))
        found = endpoint.edited(caption)
        _write(file, {"input": found.before, "edit": found.edit, "output": found.after, "model": model})
        yield Made(text=f"{found.before} | {found.edit}")
        return found

    def make(self, caption: Caption) -> Iterator[Event]:
        """Make, measure and choose the candidates of a caption.

        Raises:
            CaptionError: the caption is too long for the pipeline.
        """
        request, triplets = self._request, self._triplets
        base = caption.name(*self._settings)
        file = triplets.folder / CANDIDATES / f"{base}.json"
        record = {} if request.overwrite or not file.exists() else _scores_in(file)
        known = len(record)
        names = [f"{base}-{number:03d}" for number in range(max(known, request.candidates))]
        for name in names[known:]:
            if request.overwrite or not triplets.exists(name):
                yield from self._sample(caption, name)
            found = (yield from self._opened()).similarities(caption, triplets.files(name))
            record[name] = asdict(Draw.of(request, name)) | found._asdict()
            _write(file, record)
        scores = [record[name] for name in names[: request.candidates]]
        best = [names[number] for number in chosen(scores, request)]
        self.counts.add(scores, len(best))
        for number, name in enumerate(names):
            if name in best:
                yield from self._keep(caption, name)
                continue
            for image in triplets.files(name):
                image.unlink(missing_ok=True)
            if number >= known:
                yield Made(text=f"{name}: left out{_reason(record[name], request)}")
        for name in best:
            self._list(caption, name, record[name])

    def _sample(self, caption: Caption, name: str) -> Iterator[Event]:
        studio = yield from self._opened()
        yield BatchStarted(images=1, nfe=self._request.steps)
        pictures = yield from studio.sampled(caption, name)
        self._triplets.save(name, pictures)
        self._sampled.add(name)

    def _opened(self) -> Generator[Event, None, Studio]:
        if self._studio is None:
            self._studio = yield from Studio.opening(self._request)
        return self._studio

    def _keep(self, caption: Caption, name: str) -> Iterator[Event]:
        """Keep the images of a candidate; those that an earlier run removed are made again."""
        if not self._triplets.exists(name):
            yield from self._sample(caption, name)
        if name in self._sampled:
            yield self._triplets.count(name, self._request.pictures)
        else:
            self._triplets.kept += 1

    def _list(self, caption: Caption, name: str, scores: Scores) -> None:
        texts = {"caption_before": caption.before, "caption_after": caption.after}
        drawn = {"shared_attention": scores["p"], "guidance_scale": scores["scale"]}
        measured = {f"clip_{each}": scores[each] for each in Similarities._fields}
        self._triplets.list(name, caption=caption.edit, edit=KIND, split=caption.split, **texts, **drawn, **measured)


def _reason(scores: Scores, request: InstructRequest) -> str:
    """Return which filters a candidate fails, in words."""
    failed = [name for name, good in passed(scores, request).items() if not good]
    return f" by {' and '.join(failed)}" if failed else ", others are better"


def _answer_in(file: Path, caption: Caption) -> Caption:
    """Return a caption with the edit in a file of an earlier run.

    Raises:
        UsageError: the file is damaged.
    """
    body = read_json(file, hint=DAMAGED)
    try:
        return replace(caption, edit=text_of(body["edit"]), after=text_of(body["output"]))
    except (TypeError, LookupError, ValueError):
        raise UsageError(f"{file}: not an edit of a caption", hint=DAMAGED) from None


def _scores_in(file: Path) -> dict[str, dict[str, float]]:
    """Return the similarities of candidates in a file of an earlier run, by their names in order.

    Raises:
        UsageError: the file is damaged.
    """
    body = read_json(file, hint=DAMAGED)
    names = {*Similarities._fields, *(each.name for each in fields(Draw))}
    is_whole = isinstance(body, dict) and all(
        isinstance(each, dict) and set(each) == names and all(type(value) is float for value in each.values())
        for each in body.values()
    )
    expected = [f"{file.stem}-{number:03d}" for number in range(len(body))] if is_whole else None
    if not is_whole or list(body) != expected:
        raise UsageError(f"{file}: not a record of candidates", hint=DAMAGED)
    return dict(body)


def _write(file: Path, body: Mapping[str, Any]) -> None:
    write_text(file, json.dumps(body, ensure_ascii=False, indent=1) + "\n")


def _facts(request: InstructRequest, captions: int, asked: int) -> dict[str, str]:
    edits = f"; edits of {asked} by {request.endpoint_model}" if asked else ""
    kept = min(request.per_image, request.candidates)
    return {
        "Captions": f"{captions} of {request.pictures}{edits}",
        "Pairs": f"{kept} of {request.candidates} candidates per caption at most, {request.output}",
        "Images": f"{request.model}, {request.steps} steps, seed {request.seed}; filtered by {request.clip}",
    }
