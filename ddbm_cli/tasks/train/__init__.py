"""Train a bridge on pairs, or a prior on images. A run is a folder:

RUN/config.json            the resolved request, and a digest of the data
RUN/state.safetensors      what the run is resumed from
RUN/checkpoints/           with --keep, the last states; the newest is the same file as state.safetensors
RUN/model.safetensors      averaged weights with their card, for `ddbm translate -m`
RUN/best.safetensors       the same, at the lowest validation loss
RUN/results.csv            a row for each validation
RUN/metrics.csv            means of loss, gradient norm and learning rate over some steps
RUN/report.html            curves, the same held-out images over time, data, settings and commands in one page
RUN/logs/                  TensorBoard's records, where it is installed
RUN/samples/step_N.png     source | result | target, for some held-out pairs; of a prior, samples
RUN/latents/               latents of the images of a run that is not finished
RUN/.ddbm-lock             locked while a training writes into the folder
"""

from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.request import PIX2PIX, PRIOR, request
from ddbm_cli.tasks.train.run import TrainEvent, run
from ddbm_cli.tasks.train.stored import settings_of

__all__ = ["PIX2PIX", "PRIOR", "TrainEvent", "TrainRequest", "request", "run", "settings_of"]
