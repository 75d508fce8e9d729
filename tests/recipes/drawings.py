"""Make the images of the manual's page on drawings: each kind of drawing, what the model receives, and its result.

    python -m tests.recipes.drawings

The drawings are made from the packaged sketches, as in the tests of the preparation.
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ddbm_cli.foundation.files import write_bytes
from ddbm_cli.imaging.preparing import Layout, Steps, prepare
from ddbm_cli.models import builtin_path, load_model
from ddbm_cli.samplers import NoiseSource, finish
from tests.imaging import drawings, papers

SIDE, LABEL, GAP, ACROSS = 108, 15, 10, 3
QUALITY = 80


def sketches() -> dict[str, Image.Image]:
    folder = builtin_path().parent / "sketches"
    return {file.stem: Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))}


def kinds() -> dict[str, Image.Image]:
    """One drawing of each kind."""
    clean = sketches()
    ink = [each for name, each in clean.items() if name.endswith("-ink")]
    pencil = [each for name, each in clean.items() if name.endswith("-pencil")]
    found = {name: image for number in range(3) for name, image in drawings.kinds(number, seed=number).items()}
    for number, (name, make) in enumerate(papers.KINDS.items()):
        chosen = pencil if name in ("fingers", "tablet", "text") else ink
        found[name.replace("_", " ")] = make(chosen[number % len(chosen)], np.random.default_rng(number))
    page = Image.new("RGB", (1500, 1050), "white")
    for number in range(6):
        each = [*ink, *pencil][number].resize((300, 300), Image.Resampling.LANCZOS)
        page.paste(each, (60 + number % 3 * 500, 50 + number // 3 * 530))
    return found | {"six on a page": page}


def shown(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image if image.mode == "RGBA" else None)
    return ImageOps.pad(flat, (SIDE, SIDE), color="white")


def main() -> None:
    model = load_model(None, device="cpu")
    own = model.card.preprocess
    rows = []
    for name, drawing in kinds().items():
        prepared = prepare(drawing, model.card.expects, own.width, Steps())
        images = [part.image for part in prepared.parts] or [drawing]
        layout = Layout(tuple(part.box for part in prepared.parts), prepared.page, drawing.size)
        results, received = [], []
        for number, image in enumerate(images):
            tensor, placement = own.forward(image)
            calls = model.translate(tensor[None], NoiseSource(0, [f"{name}#{number}"]), model.plan())
            results.append(own.inverse(finish(calls)[0], placement))
            received.append(image)
        together = [
            layout.compose(each, keep_size=False) if prepared.parts else each[0] for each in (received, results)
        ]
        rows.append((name, [drawing, *together]))
    down = -(-len(rows) // ACROSS)
    width = 3 * SIDE + GAP
    sheet = Image.new("RGB", (ACROSS * width - GAP, down * (SIDE + LABEL)), "white")
    for number, (name, images) in enumerate(rows):
        x, y = number % ACROSS * width, number // ACROSS * (SIDE + LABEL)
        ImageDraw.Draw(sheet).text((x + 2, y + 1), name, fill="black")
        for column, image in enumerate(images):
            sheet.paste(shown(image), (x + column * SIDE, y + LABEL))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=QUALITY)
    write_bytes(builtin_path().parent / "drawings.jpg", stream.getvalue())


if __name__ == "__main__":
    main()
