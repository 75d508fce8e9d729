"""From the bytes of a request to what the network gets, and from its results to files."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.text import printable
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture
from ddbm_cli.imaging.preprocess import to_picture
from ddbm_cli.imaging.uploads import check_pixels
from ddbm_cli.methods import method_of
from ddbm_cli.serve.limits import Limits
from ddbm_cli.serve.offered import Offered
from ddbm_cli.serve.parameters import Asked, check_nfe
from ddbm_cli.tasks.making import Loaded, Maker
from ddbm_cli.tasks.records import Records
from ddbm_cli.tasks.recreate import command_of
from ddbm_cli.tasks.translate import check_draws

FORMAT = "png"


@dataclass(frozen=True)
class Drawing:
    """An image that is ready for the network.

    objects: the sources of its objects, float32 (3, H, W) in -1..1, one for an image that is used as it is.
    """

    asked: Asked
    offered: Offered
    maker: Maker
    loaded: Loaded
    objects: tuple[Tensor, ...]

    @property
    def notes(self) -> list[str]:
        """How the image was prepared, and what about the sampling a user should know."""
        return [*self.loaded.notes, *self.maker.doubts()]

    @property
    def findings(self) -> list[dict[str, str]]:
        """What in the image the model does not expect, and what to do."""
        return [{"what": each.message, "do": each.hint} for each in self.loaded.findings]

    def finish(self, draw: int, results: Sequence[Tensor]) -> dict[str, Any]:
        """Return a draw as an answer holds it.

        Args:
            draw: its number. results: of each object, (3, H, W).

        Returns:
            draw; image: the file, base64; name: a file name for it; command: that makes the same file of the drawing.

        Raises:
            ImageError: the result contains NaN or infinity.
        """
        loaded = replace(self.loaded, job=replace(self.loaded.job, draw=draw))
        image = self.maker.finish(loaded, results[0] if len(results) == 1 else torch.stack(list(results)))
        records = Records(self.maker, FORMAT)
        record = records.of(loaded)
        body = encode_picture(image, FORMAT, text=records.texts(record))
        source = Path(loaded.job.name)
        file = Path(f"{source.stem}-{self.maker.request.seed}{f'-{draw}' if draw else ''}.{FORMAT}")
        models = {"--model": self.offered.reference}
        return {
            "draw": draw,
            "image": base64.b64encode(body).decode(),
            "name": file.name,
            "width": image.width,
            "height": image.height,
            "command": printable(command_of(record, file, source=source, models=models, output=file)),
        }


def read_drawing(asked: Asked, offered: Offered, body: bytes, limits: Limits) -> Drawing:
    """Decode and prepare the image of a request.

    Raises:
        UsageError: options that do not go together, or that the model does not have.
        ImageError: it is not an image, or too large.
        Refused: more network evaluations than the server allows.
    """
    request = replace(asked.options, model=offered.reference)
    method = method_of(request)
    plan = method.plan(request, offered.model)
    check_nfe(plan.nfe, limits)
    check_draws(offered.model, plan, request.number)
    maker = Maker(request, method, offered.model, plan)
    name = request.source
    check_pixels(body, name=name, most=limits.pixels)
    loaded = maker.load(Job(name, Path(name), Path(name)), lambda: body)
    # The bytes are not needed any more: only results of a part of an image are put into the original.
    loaded = replace(loaded, original=None)
    return Drawing(asked, offered, maker, loaded, (loaded.tensor, *loaded.more))


def thumbnail(state: Tensor) -> str:
    """Return a state (3, H, W), values about -1..1, as a PNG file in base64."""
    return base64.b64encode(encode_picture(to_picture(state), FORMAT)).decode()
