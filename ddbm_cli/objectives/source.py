"""The source of an image that has none, on a bridge: noise, as at the end of the reference process.

A bridge whose network does not get the source is the reference process itself, if the source is where that process
leads the target (DDBM arXiv:2309.16948, the unconditional case):

    x_T = alpha_T x_0 + sigma_T eps                                        (1)

On a noise-free path the source is independent noise, as in flow matching (arXiv:2210.02747).
"""

from torch import Tensor

from ddbm_cli.paths import ProbabilityPath


def noise_source(path: ProbabilityPath, target: Tensor, noise: Tensor) -> Tensor:
    """Return x_T (B, C, H, W) for targets and standard noise of that shape; the target itself on a source-free path,
    where it has no effect."""
    if path.source_free:
        return target
    return path.sigma_T * noise if path.noise_free else path.alpha_T * target + path.sigma_T * noise


def signal_left(path: ProbabilityPath) -> float:
    """Return the signal-to-noise ratio of (1); sampling begins at noise alone, which is right where this is small."""
    return 0.0 if path.noise_free else path.alpha_T / path.sigma_T
