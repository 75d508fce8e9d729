"""A comparison of painted images, for tests of its page and tables."""

import io

from PIL import Image

from ddbm_cli.comparison import Comparison, Input, Outcome, Strip


def paint(colour: str, width: int = 16, height: int = 16, format: str = "png") -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(body, format)
    return body.getvalue()


def strip(count: int = 4) -> Strip:
    """Columns of different colours, so that a test can see which one is shown."""
    picture = Image.new("RGB", (16 * count, 32))
    for column in range(count):
        for row in range(2):
            picture.paste((60 * column, 120 * row, 90), (16 * column, 16 * row, 16 * column + 16, 16 * row + 16))
    body = io.BytesIO()
    picture.save(body, "webp", lossless=True)
    return Strip(
        image=body.getvalue(), times=tuple(1 - k / count for k in range(count)), calls=tuple(range(1, count + 1))
    )


def comparison(count: int = 3, **changes) -> Comparison:
    names = [f"{index}.png" for index in range(count)]

    def outcome(label: str, nfe: int, colour: str, error: float) -> Outcome:
        return Outcome(
            label=label,
            series=label.partition(",")[0],
            model="tiny",
            digest="d1",
            reference="tiny.safetensors",
            card={"name": "tiny", "licence": "MIT"},
            sampling=label,
            steps=nfe,
            nfe=nfe,
            seconds=nfe / 100,
            images=dict.fromkeys(names, paint(colour)),
            commands={name: f"ddbm translate {name} --seed 0" for name in names},
            strips={names[0]: strip()},
            scores={"MSE": {name: error + index for index, name in enumerate(names)}},
            intervals={"MSE": (error, error + 2)},
        )

    body = {
        "inputs": tuple(Input(name=name, image=paint("white"), target=paint("blue")) for name in names),
        "outcomes": (
            outcome("slow, 20 NFE", 20, "red", 0.25),
            outcome("fast, 5 NFE", 5, "green", 0.5),
            Outcome(label="<broken>", series="<broken>", error="it broke", hint="mend it"),
        ),
        "metrics": {"MSE": ("mean squared error", False)},
        "facts": {"date": "today", "seed": "0"},
        "warnings": ("few images",),
    }
    return Comparison(**(body | changes))
