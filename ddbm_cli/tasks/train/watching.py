"""Watching a run: metrics.csv, trackers and report.html follow the events of its training."""

import os
from collections.abc import Iterator, Mapping

from ddbm_cli.foundation.events import Noticed, Saved, Stepped, Validated
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.tasks.train.report import Report
from ddbm_cli.tasks.train.results import Results
from ddbm_cli.tasks.train.stored import settings_of
from ddbm_cli.training import Fit
from ddbm_cli.training.trackers import Trackers

POINTS = 1000
"""Rows of metrics.csv in a run, about: each has the means of the steps since the row before."""

IDENTITY = "tracking"
"""The key of a state's notes for what trackers call the run."""


class Watch:
    """Follows a run; everything is written by the main process.

    Args:
        facts: those of the header.
        results: the validations so far.
        trackers: names of trackers that are installed.
    """

    def __init__(
        self,
        folder: RunFolder,
        request: TrainRequest,
        facts: Mapping[str, str],
        *,
        fit: Fit,
        results: Results,
        trackers: list[str],
    ) -> None:
        self._folder, self._request = folder, request
        self._metrics = Results(folder.metrics, step=fit.step)
        self._every = max(1, request.recipe.steps // POINTS)
        self._since: list[Stepped] = []
        self._step, self._seconds = fit.step, fit.seconds
        self._first = fit.step
        identity = fit.notes.setdefault(IDENTITY, os.urandom(8).hex()) if "wandb" in trackers else ""
        self._trackers = Trackers(trackers, folder.path, step=fit.step, identity=str(identity))
        if not fit.step:
            self._trackers.configure({**facts, "settings": settings_of(request)})
        self._report = Report(folder, request, facts, metrics=self._metrics, results=results)

    def see(self, event: object) -> None:
        """Record an event. A validation's sheet of samples must be written before."""
        if isinstance(event, Stepped):
            self._stepped(event)
        elif isinstance(event, Validated):
            self._trackers.log({f"validation/{name}": value for name, value in event.scores.items()}, event.step)
            sheet = self._folder.sheet(event.step)
            if sheet.exists():
                self._trackers.images("samples", to_tensor(open_picture(sheet)), event.step)
            self._report.write(event.step)
        elif isinstance(event, Saved) and (event.step > self._first or not self._folder.report.exists()):
            self._row()
            self._metrics.write()
            self._report.write(event.step)

    def notices(self) -> Iterator[Noticed]:
        """Yield what went wrong with trackers since the last call."""
        for fault in self._trackers.faults():
            yield Noticed(message=fault, hint="the run continues; --tracker none turns trackers off")

    def close(self) -> None:
        """End the records of this session."""
        self._trackers.close()

    def _stepped(self, event: Stepped) -> None:
        self._since.append(event)
        if event.step - self._step >= self._every:
            self._row()

    def _row(self) -> None:
        """Add the means since the row before."""
        if not self._since:
            return
        count, last = len(self._since), self._since[-1]
        row = {
            "loss": sum(each.loss for each in self._since) / count,
            "gradient_norm": sum(each.gradient_norm for each in self._since) / count,
            "rate": last.rate,
            "seconds": round(last.seconds, 3),
        }
        self._metrics.hold(last.step, row)
        pace = (last.step - self._step) / max(last.seconds - self._seconds, 1e-9)
        self._trackers.log(
            {
                "train/loss": row["loss"],
                "train/gradient_norm": row["gradient_norm"],
                "train/learning_rate": row["rate"],
                "train/steps_per_second": pace,
            },
            last.step,
        )
        self._since, self._step, self._seconds = [], last.step, last.seconds
