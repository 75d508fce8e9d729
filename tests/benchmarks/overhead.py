"""The share of a sampler's own work in the time of sampling; target: under 1 % per network evaluation.

    python -m tests.benchmarks.overhead [--batch 8] [--full]

For every sampler, on the built-in bridge, the processor time of a trajectory is measured inside the network and outside
of it, in one run. The denoiser's own scalings count as outside. --full takes the full-size edges2handbags network with
random weights instead.
"""

import argparse
import sys
import time

import torch
from torch import Tensor

from ddbm_cli.models import TranslationModel, assemble, builtin_path, load_model
from ddbm_cli.models.importers import card_of
from ddbm_cli.networks import pack
from ddbm_cli.registry import read_registry
from ddbm_cli.samplers import SAMPLERS, NoiseSource, finish

NFE, ROUNDS = 10, 2


def full_size() -> TranslationModel:
    """Return the edges2handbags model with random weights."""
    card = card_of(read_registry()["edges2handbags-vp-64"])
    denoiser = assemble(card)
    pack(denoiser.eval().requires_grad_(False).network)
    return TranslationModel(card, denoiser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    model = full_size() if given.full else load_model(builtin_path(), device="cpu", dtype="fp32")
    measure(model, given.batch)


def measure(model: TranslationModel, batch: int) -> None:
    """Print the shares of all samplers."""
    inside = 0.0
    network = model.denoiser.network
    whole_forward = network.forward

    def forward(*given: Tensor) -> Tensor:
        nonlocal inside
        began = time.process_time()
        result: Tensor = whole_forward(*given)
        inside += time.process_time() - began
        return result

    network.forward = forward  # type: ignore[assignment, method-assign]
    source = torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    names = [str(index) for index in range(batch)]
    for name in (*SAMPLERS, "ode"):
        plan = model.plan(name, nfe=NFE)
        best = float("inf")
        for _ in range(ROUNDS):
            inside, began = 0.0, time.process_time()
            finish(model.translate(source, NoiseSource(0, names), plan))
            total = time.process_time() - began
            best = min(best, (total - inside) / inside)
        each = 1e3 * best * inside / plan.nfe
        sys.stdout.write(f"{name:22} {100 * best:.2f} % of the network's time, {each:.2f} ms per evaluation\n")


if __name__ == "__main__":
    main()
