"""Scores of pictures against the truth, one picture at a time."""

from collections.abc import Mapping
from pathlib import Path

from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess

METRICS = {
    "MSE": ("mean squared error to the target, values in -1..1", False),
    "PSNR": ("peak signal to noise ratio in dB, of the same error", True),
}


def score(
    outputs: Mapping[str, Path], targets: Mapping[str, Path], preprocess: Preprocess
) -> dict[str, dict[str, float]]:
    """Return metric -> name -> value, for the outputs that have a target; both as the model sees pictures."""
    scores: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for name in (name for name in outputs if name in targets):
        output, _ = preprocess.forward(open_picture(outputs[name]))
        target, _ = preprocess.forward(open_picture(targets[name]))
        error = (output - target).square().mean()
        scores["MSE"][name] = float(error)
        scores["PSNR"][name] = float(10 * (4 / error.clamp(min=1e-10)).log10())
    return scores
