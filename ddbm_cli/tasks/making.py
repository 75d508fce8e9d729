"""From loaded images to results: what every command that makes images does with a model, a method and a plan."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.devices import torch_name
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.degrade import HOLE
from ddbm_cli.imaging.files import STANDARD, Job
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.imaging.io import LOSSY, open_picture, opened
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.methods import Method
from ddbm_cli.methods.conditions import class_of, guidance_of, text_scale
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Evaluation, NoiseSource, Plan
from ddbm_cli.tasks.request import TranslateRequest


@dataclass(frozen=True)
class Loaded:
    """An image that is ready for the network.

    tensor: float32 (3, H, W) in -1..1. digest: SHA-256 of its file, "" if it has none.
    mask: (1, H, W), 1 where it may change. original: opens the image again, in its own size.
    """

    job: Job
    tensor: Tensor
    placement: Placement
    digest: str
    mask: Tensor | None = None
    original: Callable[[], Picture] | None = None


class Maker:
    """Makes images from images.

    Args:
        request: seed, conditions, guide and mask; files are not looked at.
        method, model, plan: how.

    Raises:
        UsageError: conditions that the model does not have, or an invalid guide or mask.
    """

    from_noise: ClassVar[bool] = False
    """Whether there is no source image."""

    def __init__(self, request: TranslateRequest, method: Method, model: TranslationModel, plan: Plan) -> None:
        self.request = request
        self.method = method
        self.model = model
        self.plan = plan
        own = model.card.preprocess
        self.preprocess: Preprocess = own if request.fit is None else replace(own, fit=request.fit)
        self.edit = Edit(request.guide, request.mask)
        self._guidance = guidance_of(request, model, in_turn=self.from_noise)
        self._class = class_of(request, model, in_turn=self.from_noise)

    def load(self, job: Job, read: Callable[[], bytes]) -> Loaded:
        """Return the image of a job.

        Args:
            read: returns the bytes of its file, and can be called more than once.

        Raises:
            ImageError: the image, its mask or its guide cannot be read.
        """
        body, name = read(), source_name(job)
        digest = sha256(body)

        def original() -> Picture:
            again = read()
            if sha256(again) != digest:
                raise ImageError(f"{name}: the file changed during the run", hint="run the command again")
            return open_picture(again, name=name)

        with opened(body, name=name) as image:
            return self.prepare(job, image, digest, original)

    def prepare(self, job: Job, image: Picture, digest: str, original: Callable[[], Picture]) -> Loaded:
        """Return an opened image (RGB or RGBA), ready for the network; arguments as of `Loaded`.

        Raises:
            ImageError: its mask or its guide cannot be read.
        """
        tensor, placement = self.preprocess.forward(image)
        tensor = self.edit.guide(tensor, job.name, self.preprocess, placement)
        mask = self.edit.mask(job.name, self.preprocess, placement)
        if mask is not None and self.model.card.inpainting:
            tensor = torch.where(mask > 0, HOLE, tensor)
        return Loaded(job, tensor, placement, digest, mask, original)

    def nfe(self, batch: Sequence[Loaded]) -> int:
        """Return the number of network evaluations of a batch."""
        return self.plan.nfe

    def run(self, batch: Sequence[Loaded]) -> Generator[Evaluation, None, Tensor]:
        """Yield every network evaluation of a batch, and return the results (B, 3, H, W) on the CPU."""
        source = torch.stack([loaded.tensor for loaded in batch])
        names, draws = ([self.noise_name(loaded.job) for loaded in batch], [loaded.job.draw for loaded in batch])
        noise = NoiseSource(self.request.seed, names, draws)
        masks = [loaded.mask for loaded in batch if loaded.mask is not None]
        mask = torch.stack(masks) if masks else None
        return self.method.run(self.conditioned(batch), source, noise, self.plan, mask)

    def conditioned(self, batch: Sequence[Loaded]) -> TranslationModel:
        """Return the model with the classes of a batch."""
        labels = [self.label(loaded.job) for loaded in batch]
        return self.model.with_conditions(torch.tensor(labels) if self.model.classes else None, self._guidance)

    def label(self, job: Job) -> int:
        """Return the label of an image's class, -1 for none."""
        return NO_LABEL if self._class is None else self._class

    def noise_name(self, job: Job) -> str:
        """Return the name that seeds an image's noise; bytes that are not UTF-8 are escaped."""
        return text_of(self.request.noise_name or job.name)

    def finish(self, loaded: Loaded, result: Tensor) -> Picture:
        """Return the image (RGB) of a result (3, H, W).

        Raises:
            ImageError: the result contains NaN or infinity, or the original cannot be read again.
        """
        if not np.isfinite(result.numpy()).all():
            raise ImageError(f"{source_name(loaded.job)}: the result contains NaN or infinity", hint="use --dtype fp32")
        keep_size = self.request.keep_size
        image = self.preprocess.inverse(result, loaded.placement, keep_size=keep_size)
        if keep_size and loaded.mask is not None and loaded.original and self.request.guide is None:
            original = self.preprocess.shown(loaded.original())
            image = self.edit.composite(loaded.job.name, image, original, self.preprocess)
        return image

    def settings(self, format: str) -> dict[str, Any]:
        """Return everything that decides an output, except its own files and the version of the program."""
        settings = {
            **self.method.record(self.request, self.model),
            **self.plan.describe(),
            "nfe": self.plan.nfe,
            "seed": self.request.seed,
            "dtype": torch_name(self.model.dtype),
            "fit": self.preprocess.fit,
            "keep_size": self.request.keep_size,
        }
        if self.request.prompt:
            settings |= {"prompt": self.request.prompt, "guidance_scale": text_scale(self.request)}
        if self.model.classes:
            settings |= {"guidance_scale": self._guidance.label}
        if self._guidance.image != 1:
            settings |= {"image_guidance_scale": self._guidance.image}
        return settings | ({"quality": self.request.quality} if format in LOSSY else {})

    def own(self, job: Job) -> dict[str, Any]:
        """Return what else decides one output; None values are left out of its record.

        Raises:
            ImageError: its mask or its guide cannot be read.
        """
        name = {"class": self.model.class_of(self.label(job))} if self.model.classes else {}
        own = {"noise_name": self.noise_name(job), "noise_draw": job.draw or None}
        return own | self.edit.describe(job.name) | name

    def circumstances(self) -> dict[str, Any]:
        """Return what may change single levels of an output: devices other than the CPU, and batches."""
        device, batch = self.model.device.type, self.request.batch_size
        alone = self.model.is_batch_invariant or batch == 1
        return {"device": None if device == "cpu" else device, "batch_size": None if alone else batch}

    def source_of(self, job: Job, digest: str) -> dict[str, Any]:
        """Return how a record names the source."""
        return {"source": text_of(job.name).rpartition("/")[2], "source_sha256": digest}

    def reads(self, record: Mapping[str, Any], job: Job, read: Callable[[], bytes]) -> bool:
        """Return whether a record's source is that of a job.

        Raises:
            ImageError: the source cannot be read.
        """
        return bool(record.get("source_sha256") == sha256(read()))


def is_pipe(path: Path) -> bool:
    """Return whether a path stands for standard input or output."""
    return str(path) == STANDARD


def source_name(job: Job) -> str:
    """Return what errors call the source of a job."""
    return "standard input" if is_pipe(job.source) else str(job.source)


def text_of(name: str) -> str:
    """Return a file name as text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()
