"""The time to plan a number of network evaluations; target: under 20 ms.

python -m tests.benchmarks.planning [NFE ...]
"""

import sys
import time

from ddbm_cli.foundation.settings import spell
from ddbm_cli.paths import PATHS, VPBridge
from ddbm_cli.samplers import SAMPLERS, HybridHeun, Karras, Pinned, Plan, default_grid, default_start

TARGET_MS = 20


def main(budgets: list[int]) -> None:
    Plan(path=VPBridge(), sampler=HybridHeun(), grid=Karras(), start=Pinned(), steps=2).within(20)  # warms up
    for budget in budgets:
        times = {}
        for path in (kind() for kind in PATHS.values()):
            for sampler in (kind() for kind in SAMPLERS.values()):
                if path.noise_free and sampler.needs_noise:
                    continue
                began = time.perf_counter()
                start, grid = default_start(path, sampler), default_grid(path, sampler)
                plan = Plan(path=path, sampler=sampler, grid=grid, start=start, steps=1).within(budget)
                plan.warnings()
                times[f"{path.name}, {sampler.name}, {spell(grid)}"] = 1e3 * (time.perf_counter() - began)
        heun = max(value for name, value in times.items() if "heun" in name)
        worst = max(times, key=lambda name: times[name])
        print(f"--nfe {budget}: heun at most {heun:.1f} ms; all at most {times[worst]:.1f} ms ({worst})")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [119, 1000])
