"""Tiles: the memory of a large image, and how visible the edges of tiles are, fused and stitched.

    python -m tests.benchmarks.tiles [--side 4096]

Memory is the peak of `ddbm translate --tile 512` on an image of that side with a tiny network, minus that on an image
of 512 pixels, which is one tile: what the canvas costs. Edges are measured on a page of the packaged sketches, with the
built-in model and tiles of its size: the mean difference of neighbouring pixels across the edges of tiles, divided by
that of all neighbouring pixels. 1 means that edges cannot be told from the rest. Stitched tiles are translated one by
one, without overlap.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.denoisers.tiled import Tiles, starts
from ddbm_cli.imaging.preprocess import Preprocess, to_tensor
from ddbm_cli.models import TranslationModel, builtin_path, load_model
from ddbm_cli.samplers import NoiseSource, finish
from tests.tiny import write_tiny

SHIFT, ACROSS = 24, 4
OVERLAPS = (0, 8, 16, 32)
NETWORK = {"name": "adm", "channels": 8, "multipliers": [1], "blocks": 1, "attention": [], "patch": 8}


def peak(source: Path, model: Path, output: Path) -> int:
    """Return the largest memory of a translation in tiles, in bytes."""
    words = [
        "translate",
        source,
        output,
        "-m",
        model,
        "-d",
        "cpu",
        "--tile",
        "512",
        "--batch-size",
        "1",
        "-q",
        "--nfe",
        "3",
    ]
    process = subprocess.Popen([sys.executable, "-m", "ddbm_cli", *map(str, words), "--overwrite"])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_maxrss * 1024


def page(side: int) -> Tensor:
    """Return a page (1, 3, H, W) of sketches that do not lie on the tiles."""
    sketches = sorted((builtin_path().parent / "sketches").glob("*.png"))
    sheet = Image.new("RGB", (ACROSS * side, ACROSS * side), "white")
    for index, (row, column) in enumerate(product(range(-1, ACROSS), repeat=2)):
        with Image.open(sketches[index % len(sketches)]) as sketch:
            sheet.paste(sketch.convert("RGB").resize((side, side)), (column * side + SHIFT, row * side + SHIFT))
    return to_tensor(sheet)[None]


def seam(result: Tensor, edges: list[int]) -> float:
    """Return the mean difference across edges, divided by that of all neighbours, along both sides."""
    ratios = []
    for each in (result, result.transpose(2, 3)):
        steps = (each[..., 1:, :] - each[..., :-1, :]).abs().mean((0, 1, 3))
        ratios.append(float(steps[[edge - 1 for edge in edges]].mean() / steps.mean()))
    return sum(ratios) / 2


def stitched(model: TranslationModel, source: Tensor, side: int) -> Tensor:
    """Return the page of tiles that are translated one by one."""
    result = torch.empty_like(source)
    for top, left in product(range(0, source.shape[2], side), range(0, source.shape[3], side)):
        tile = source[..., top : top + side, left : left + side]
        noise = NoiseSource(0, [f"{top} {left}"])
        result[..., top : top + side, left : left + side] = finish(model.translate(tile, noise, model.plan()))
    return result


def measure_edges() -> None:
    model = load_model(None, device="cpu")
    side = model.card.preprocess.width
    source = page(side)
    inner = list(range(side, source.shape[2], side))
    print(f"stitched: {seam(stitched(model, source, side).clamp(-1, 1), inner):.2f}", flush=True)
    for overlap in OVERLAPS:
        begins = starts(source.shape[2], side, overlap)
        edges = sorted({*begins[1:], *(begin + side for begin in begins[:-1])})
        tiles = model.with_tiles(Tiles((side, side), overlap, 8))
        result = finish(tiles.translate(source, NoiseSource(0, ["page"]), model.plan())).clamp(-1, 1)
        print(
            f"fused, overlap {overlap}: {seam(result, edges):.2f}, at the stitched edges {seam(result, inner):.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--memory-only", action="store_true")
    given = parser.parse_args()
    if not given.memory_only:
        measure_edges()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tiny = write_tiny(root / "tiny.safetensors", network=NETWORK, preprocess=Preprocess(size=512))
        peaks = []
        for pixels in (512, given.side):
            Image.linear_gradient("L").resize((pixels, pixels)).convert("RGB").save(root / f"{pixels}.png")
            peaks.append(peak(root / f"{pixels}.png", tiny, root / "out.png"))
        canvas = given.side**2 * 3 * 4
        times = (peaks[1] - peaks[0]) / canvas
        print(f"memory: {peaks[0] / 2**30:.2f} GiB of 512 pixels, {peaks[1] / 2**30:.2f} GiB of {given.side}")
        print(f"the difference is {times:.1f} canvases of float32, {canvas / 2**30:.2f} GiB each")


if __name__ == "__main__":
    main()
