"""The released edges2handbags network next to the same weights as the released code computes them, on this CPU.

    python -m tests.benchmarks.network [--rounds 5] [--threads 2] [--batch 1 --batch 4]

The weights are random. In each round every network is called once, in turn, so that what else the machine does hits all
alike; the ratios are medians over rounds of the released code's time to ours. Then it prints where our time goes, and
the rates of single 3x3 convolutions: of PyTorch's call, of oneDNN with packed weights, and of ours. Rates of Winograd's
algorithm count the operations of a direct sum, as all others, and so can be above what the processor can multiply.

On a shared machine several threads wait for the one that was put aside, at every operation. There
OMP_WAIT_POLICY=passive in the environment may help.
"""

import argparse
import functools
import statistics
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ddbm_cli.networks import ADM, ADMConfig, pack
from ddbm_cli.networks.blocks import Conv
from ddbm_cli.networks.packed import direct
from tests.benchmarks._released import Released

SIZE = 64
CONVOLUTIONS = [(192, 192, 64), (384, 192, 64), (384, 384, 32), (576, 576, 16), (768, 768, 8), (1536, 768, 8)]
"""Channels before and after, and size, of 3x3 convolutions from each level."""

REPEATS = 5

KINDS = {
    "products of Winograd's algorithm, and of attention in bfloat16": ("aten::bmm",),
    "other convolutions (oneDNN)": ("mkldnn::_convolution_pointwise",),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_softmax"),
    "sums and differences, most of them of Winograd's algorithm": ("aten::add", "aten::sub", "aten::add_"),
    "normalisation and SiLU": ("aten::silu_", "aten::native_group_norm", "aten::sum", "aten::mul", "aten::addcmul"),
}
"""Operators by what they are for."""


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def networks() -> dict[str, nn.Module]:
    """Return the released code's arithmetic, and ours in both types, on the same random weights."""
    torch.manual_seed(0)
    ours = ADM(ADMConfig()).eval().requires_grad_(False)
    for parameter in ours.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    half = ADM(ADMConfig()).eval().requires_grad_(False)
    half.load_state_dict(ours.state_dict())
    half.bfloat16()
    released = Released(ours)
    for each in (ours, half):
        pack(each)
    return {"released": released, "fp32": ours, "bf16": half}


def operations(batch: int) -> int:
    """Count the network's floating-point operations, as the plain formulas have them."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ADM(ADMConfig())(torch.empty(batch, 6, SIZE, SIZE), torch.empty(batch))
    return int(counter.get_total_flops())


def compare(every: dict[str, nn.Module], batch: int, rounds: int) -> None:
    """Print the times of the networks, and how far ours are from the released one's results."""
    x, times = torch.randn(batch, 6, SIZE, SIZE), torch.full((batch,), 150.0)
    results = {name: network(x, times).float() for name, network in every.items()}
    spans: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(rounds):
        for name, network in every.items():
            spans[name].append(seconds(lambda network=network: network(x, times)))  # type: ignore[misc]
    wanted, total = results["released"], operations(batch)
    for name, found in spans.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(spans["released"], found, strict=True))
        error = float((results[name] - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())
        print(
            f"batch {batch}, {name:8}: {statistics.median(found):6.2f} s, {total / statistics.median(found) / 1e9:4.0f}"
            f" GFLOP/s, {ratio:.2f} times as fast as released; results differ by {error:.1e}"
        )


def shares(network: nn.Module, batch: int) -> None:
    """Print what our time is spent on."""
    x, times = torch.randn(batch, 6, SIZE, SIZE), torch.full((batch,), 150.0)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        network(x, times)
    spent = Counter({each.key: each.self_cpu_time_total for each in found.key_averages()})
    for title, names in KINDS.items():
        print(f"  {100 * sum(spent.pop(name, 0) for name in names) / found_total(found):5.1f} % {title}")
    print(f"  {100 * spent.total() / found_total(found):5.1f} % all else")


def found_total(found: profile) -> float:
    """Return the microseconds of all operators."""
    return float(sum(each.self_cpu_time_total for each in found.key_averages()))


def rates(batch: int, dtype: torch.dtype) -> None:
    """Print the rates of single convolutions."""
    for channels, out_channels, size in CONVOLUTIONS:
        x = torch.randn(batch, channels, size, size).to(dtype).contiguous(memory_format=torch.channels_last)
        plain, packed = (Conv(channels, out_channels).to(dtype).requires_grad_(False) for _ in range(2))
        pack(packed)
        count = 2 * batch * size**2 * 9 * channels * out_channels
        onednn = direct(x, packed.weight)
        calls: dict[str, Callable[[Tensor], Tensor]] = {
            "PyTorch": functools.partial(nn.Conv2d.forward, plain),
            "packed": lambda x, call=onednn, bias=packed.bias: call(x, bias),  # type: ignore[misc]
            "ours": packed,
        }
        found = {name: count / fastest(call, x) / 1e9 for name, call in calls.items()}
        text = ", ".join(f"{name} {rate:4.0f}" for name, rate in found.items())
        print(f"  {channels:4} -> {out_channels:3} at {size:2} x {size:2}, batch {batch}, {str(dtype)[6:]}: {text}")


def fastest(call: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Return the seconds of the fastest of some calls, after one that is not timed."""
    call(x)
    return min(seconds(lambda: call(x)) for _ in range(REPEATS))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, action="append")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {given.threads} thread(s)")
    every = networks()
    for batch in given.batch or [1, 4]:
        compare(every, batch, given.rounds)
        for name in ("fp32", "bf16"):
            print(f"our time in {name}, batch {batch}:")
            shares(every[name], batch)
    print("GFLOP/s of 3x3 convolutions, counted as direct sums:")
    for batch in given.batch or [1, 4]:
        for dtype in (torch.float32, torch.bfloat16):
            rates(batch, dtype)


if __name__ == "__main__":
    main()
