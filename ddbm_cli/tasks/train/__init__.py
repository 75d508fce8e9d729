"""Train a bridge on pairs, or a prior on pictures; a run is a folder, and going on with it is the default.

RUN/config.json            the resolved request
RUN/state.safetensors      what resumes the run
RUN/model.safetensors      averaged weights with their card, ready for `ddbm translate -m`
RUN/best.safetensors       the same, at the lowest validation loss
RUN/results.csv            a row for each validation
RUN/samples/step_N.png     source | result | truth, for some held-out pairs; of a prior, samples
"""

from ddbm_cli.tasks.train.request import PIX2PIX, PRIOR, TrainRequest, request
from ddbm_cli.tasks.train.run import TrainEvent, run

__all__ = ["PIX2PIX", "PRIOR", "TrainEvent", "TrainRequest", "request", "run"]
