"""Drawings as people have them: how far their results are from those of the clean sketches, and what preparing costs.

    python -m tests.benchmarks.drawings FOLDER SKETCHES [SKETCHES ...]

FOLDER has `index.tsv` with the columns file, kind and sketch (several with commas, in reading order); the files are
next to it or in `images`. SKETCHES are folders of clean sketches; of several with one name, that whose saturation is
nearest to that of the prepared drawing is compared. Printed is the sliced Wasserstein distance to the results of the
clean sketches, without and with the preparation, of each kind of which there are several drawings, and of all; their
ratio is to be at most 0.35. The preparation is to take at most 15 ms of processor time per megapixel.
"""

import csv
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preparing import Prepared, Steps, prepare
from ddbm_cli.imaging.preparing.arrays import pixels
from ddbm_cli.imaging.preparing.lines import saturation
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.samplers import NoiseSource, finish

BATCH = 16


def results(model: TranslationModel, images: Sequence[Image.Image]) -> Tensor:
    """Return what a model makes of images, uint8 (N, 3, H, W), each with noise of its own."""
    made = []
    for first in range(0, len(images), BATCH):
        some = images[first : first + BATCH]
        source = torch.stack([model.card.preprocess.forward(image)[0] for image in some])
        noise = NoiseSource(0, [str(first + place) for place in range(len(some))])
        made.append(finish(model.translate(source, noise, model.plan())).float().cpu())
    return ((torch.cat(made).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def distance(outputs: Tensor, targets: Tensor) -> float:
    """Return the sliced Wasserstein distance of two sets of images."""
    metric = SlicedWasserstein(torch.device("cpu"))
    metric.add("outputs", torch.arange(len(outputs)), outputs)
    metric.add("targets", torch.arange(len(targets)), targets)
    return metric.figures()[0].value or 0.0


def flat(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image if image.mode == "RGBA" else None)
    return white


def nearest(sketches: Sequence[Image.Image], drawing: Image.Image) -> Image.Image:
    """Return the sketch that is as colourful as a drawing."""
    colour = saturation(pixels(flat(drawing)))
    return min(sketches, key=lambda sketch: abs(saturation(pixels(sketch)) - colour))


def main(folder: Path, clean: Sequence[Path]) -> None:
    model = load_model(None, device="cpu")
    size, expects = model.card.preprocess.width, model.card.expects
    assert expects
    images = folder / "images" if (folder / "images").is_dir() else folder
    plain, ready, targets = (defaultdict[str, list[Image.Image]](list) for _ in range(3))
    costs: list[tuple[float, str]] = []
    seconds = megapixels = 0.0
    with (folder / "index.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    prepare(open_picture(images / rows[0]["file"]), expects, size, Steps())  # imports libraries at its first use
    for row in rows:
        drawing = open_picture(images / row["file"])
        began = time.process_time()
        found: Prepared = prepare(drawing, expects, size, Steps())
        took, many = time.process_time() - began, drawing.width * drawing.height / 1e6
        costs.append((1000 * took / many, row["file"]))
        seconds, megapixels = seconds + took, megapixels + many
        parts = [part.image for part in found.parts] or [drawing]
        plain[row["kind"]].append(drawing)
        ready[row["kind"]] += parts
        for name in row["sketch"].split(","):
            those = [flat(open_picture(each / name)) for each in clean if (each / name).exists()]
            targets[row["kind"]].append(nearest(those, parts[0]))
    made = [{kind: results(model, each) for kind, each in group.items()} for group in (plain, ready, targets)]
    for kind, count in ((kind, len(each)) for kind, each in plain.items()):
        if count > 1:
            report(kind, count, *(group[kind] for group in made))
    report("all", len(rows), *(torch.cat(list(group.values())) for group in made))
    print(f"preparing     {1000 * seconds / megapixels:.1f} ms per megapixel (limit 15); most: {max(costs)}")


def report(kind: str, count: int, plain: Tensor, ready: Tensor, targets: Tensor) -> None:
    before, after = distance(plain, targets), distance(ready, targets)
    print(f"{kind:13} {count:3}  as it is {before:.3f}  prepared {after:.3f}  ratio {after / before:.2f} (limit 0.35)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
