"""From loaded images to results: what every command that makes images does with a model, a method and a plan."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddbm_cli.foundation.devices import torch_name
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.alpha import cut_out, silhouette
from ddbm_cli.imaging.degrade import HOLE
from ddbm_cli.imaging.files import STANDARD, Job
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.imaging.io import LOSSY, open_picture, opened, reduced
from ddbm_cli.imaging.origin import NOTHING, Origin, origin_of
from ddbm_cli.imaging.preparing import SEVERAL, Finding, Layout
from ddbm_cli.imaging.preprocess import Placement, Preprocess, to_deep
from ddbm_cli.imaging.prompts import Prompts
from ddbm_cli.imaging.sheet import Picture
from ddbm_cli.methods import Method
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Evaluation, NoiseSource, Plan
from ddbm_cli.tasks.batch_size import auto_batch_size
from ddbm_cli.tasks.conditions import JobConditions
from ddbm_cli.tasks.preparing import Preparation, Remembered
from ddbm_cli.tasks.recorder import Recorder
from ddbm_cli.tasks.request import TranslateRequest
from ddbm_cli.tasks.tiling import tiling_of

Results = Sequence[Tensor]
"""For each image of a batch its result (3, H, W), or those of its objects (N, 3, H, W); float32, about -1..1."""


@dataclass(frozen=True)
class Loaded:
    """An image that is ready for the network.

    tensor: float32 (3, H, W) in -1..1. digest: SHA-256 of its file, "" if it has none.
    mask: (1, H, W), 1 where it may change. original: opens the image again, in its own size.
    alpha: transparency of the input, float32 (3, H, W) in -1..1, all channels alike; None if it has none.
    more: further objects of the image, as `tensor`. layout: where the objects lie, None for an image used as it is.
    origin: facts about its file. notes: how the image was prepared. findings: what in it the model does not expect.
    """

    job: Job
    tensor: Tensor
    placement: Placement
    digest: str
    mask: Tensor | None = None
    original: Callable[[], Picture] | None = None
    alpha: Tensor | None = None
    more: tuple[Tensor, ...] = ()
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    origin: Origin = NOTHING

    def size(self, *, keep_size: bool) -> tuple[int, int]:
        """Return width and height of the output."""
        if self.layout:
            return self.layout.size(max(self.placement.natural), keep_size=keep_size)
        return self.placement.original if keep_size else self.placement.natural


class Maker:
    """Makes images from images.

    Args:
        request: seed, conditions, guide and mask; files are not looked at.
        method, model, plan: how.
        remembered: prepared inputs, where several runs share them.
        prompts: of single images; by default all have that of the request.

    Raises:
        UsageError: conditions that the model does not have, or an invalid guide or mask.
    """

    from_noise: ClassVar[bool] = False
    """Whether there is no source image."""

    def __init__(
        self,
        request: TranslateRequest,
        method: Method,
        model: TranslationModel,
        plan: Plan,
        remembered: Remembered | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        self.request = request
        self.method = method
        own = model.card.preprocess
        self.preprocess: Preprocess = own if request.fit is None else replace(own, fit=request.fit)
        self.tiling = tiling_of(request, model, self.preprocess)
        self.model = self.tiling.applied(model, request.batch_size)
        self.plan = plan
        self.edit = Edit(request.guide, request.mask)
        self.preparation = Preparation(request, model.card, remembered)
        self.recorder = Recorder(plan.nfe, model.codec.decode) if request.follows else None
        each = prompts or Prompts(request.prompt)
        self.conditions = JobConditions(request, model, each, in_turn=self.from_noise)

    def doubts(self) -> list[str]:
        """Return what the sampler or the model is not made for, in words."""
        return [*self.plan.warnings(), *self.conditions.doubts()]

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
        own = self.tiling.preprocess(image.size, source_name(job))
        prepared = self.preparation(image, digest)
        if prepared.findings and self.request.strict:
            first = prepared.findings[0]
            raise ImageError(f"{source_name(job)}: {first.message}", hint=first.hint)
        images = [part.image for part in prepared.parts]
        if self.request.save_prepared:
            shown = images or [reduced(own.shown(image))]
            self.preparation.save(job, shown, overwrite=self.request.overwrite)
        origin = origin_of(image)
        findings = (*prepared.findings, SEVERAL) if origin.several else prepared.findings
        alpha = None
        if self.request.alpha == "keep" and image.mode == "RGBA":
            alpha, _ = own.forward(image.getchannel("A").convert("RGB"))
        if images:
            tensors = [self.preprocess.forward(each)[0] for each in images]
            placement = self.preprocess.forward(images[0])[1]
            layout = Layout(tuple(part.box for part in prepared.parts), prepared.page, image.size)
            return Loaded(
                job,
                tensors[0],
                placement,
                digest,
                alpha=alpha,
                more=tuple(tensors[1:]),
                layout=layout,
                notes=prepared.notes,
                findings=findings,
                origin=origin,
            )
        tensor, placement = own.forward(image)
        tensor = self.edit.guide(tensor, job.name, own, placement)
        mask = self.edit.mask(job.name, own, placement)
        if mask is None and self.method.keeps_transparency and image.mode == "RGBA":
            mask = (own.forward(image.getchannel("A").convert("RGB"))[0][:1] + 1) / 2
        if mask is not None and self.model.card.inpainting:
            tensor = torch.where(mask > 0, HOLE, tensor)
        return Loaded(job, tensor, placement, digest, mask, original, alpha=alpha, findings=findings, origin=origin)

    @property
    def batch_size(self) -> int:
        """The number of images that are sampled together; one where their sizes differ."""
        one = self.method.one_by_one or self.tiling.tile
        return 1 if one else self.request.batch_size or auto_batch_size(self.model)

    def nfe(self, batch: Sequence[Loaded]) -> int:
        """Return the number of network evaluations of a batch."""
        return self.plan.nfe * max(1 + len(loaded.more) for loaded in batch)

    def run(self, batch: Sequence[Loaded]) -> Generator[Evaluation, None, Results]:
        """Yield every network evaluation of a batch, and return the results on the CPU.

        The objects of an image are sampled one after the other, so that each has the same bytes as if it were alone.
        """
        results: list[list[Tensor]] = [[] for _ in batch]
        for number in range(max(1 + len(loaded.more) for loaded in batch)):
            rows = [row for row, loaded in enumerate(batch) if number <= len(loaded.more)]
            there = [batch[row] for row in rows]
            source = torch.stack([loaded.more[number - 1] if number else loaded.tensor for loaded in there])
            names = [f"{self.noise_name(loaded.job)}{f'#{number + 1}' if number else ''}" for loaded in there]
            masks = [loaded.mask for loaded in there if loaded.mask is not None]
            mask = torch.stack(masks) if masks else None
            noise = NoiseSource(self.request.seed, names, [loaded.job.draw for loaded in there])
            calls = self.method.run(self.conditioned(there), source, noise, self.plan, mask)
            made = yield from self.recorded([loaded.job for loaded in there], calls, first=number == 0)
            for row, result in zip(rows, made, strict=True):
                results[row].append(result)
        return [each[0] if len(each) == 1 else torch.stack(each) for each in results]

    def recorded(
        self, jobs: Sequence[Job], calls: Generator[Evaluation, None, Tensor], *, first: bool = True
    ) -> Generator[Evaluation, None, Tensor]:
        """Return the results of calls, and keep their trajectory where it is to be written; see `Recorder.follow`."""
        return (yield from self.recorder.follow(jobs, calls, first=first) if self.recorder else calls)

    def conditioned(self, batch: Sequence[Loaded]) -> TranslationModel:
        """Return the model with the classes or texts of a batch."""
        return self.conditions.applied(self.model, [loaded.job for loaded in batch])

    def noise_name(self, job: Job) -> str:
        """Return the name that seeds an image's noise; bytes that are not UTF-8 are escaped."""
        return text_of(self.request.noise_name or job.name)

    def finish(self, loaded: Loaded, result: Tensor) -> Picture:
        """Return the image (RGB, or RGBA as --alpha asks) of a result (3, H, W), or (N, 3, H, W) of N objects.

        Raises:
            ImageError: the result contains NaN or infinity, or the original cannot be read again.
        """
        if not np.isfinite(result.numpy()).all():
            raise ImageError(f"{source_name(loaded.job)}: the result contains NaN or infinity", hint="use --dtype fp32")
        image = self._composed(loaded, result)
        if alpha := self._alpha(loaded, image):
            image.putalpha(alpha)
        return image

    def _composed(self, loaded: Loaded, result: Tensor) -> Picture:
        """Return the image (RGB) of a result, in its size and with what must not change."""
        keep_size = self.request.keep_size
        image = self.shaped(loaded, result if result.ndim == 4 else [result])
        if loaded.layout:
            return image
        if keep_size and self.request.mask is not None and loaded.original and self.request.guide is None:
            own = self.tiling.preprocess((whole := loaded.original()).size, source_name(loaded.job))
            image = self.edit.composite(loaded.job.name, image, own.shown(whole), own)
        return image

    def shaped(self, loaded: Loaded, results: Sequence[Tensor] | Tensor) -> Picture:
        """Return the image (RGB) of the results (3, H, W) of an image's objects, in its size."""
        keep_size = self.request.keep_size
        if loaded.layout:
            each = [self.preprocess.inverse(one, loaded.placement) for one in results]
            return loaded.layout.compose(each, keep_size=keep_size)
        return self.preprocess.inverse(results[0], loaded.placement, keep_size=keep_size)

    def deep(self, loaded: Loaded, result: Tensor, image: Picture) -> np.ndarray:
        """Return a result with 16 bits, uint16 (H, W, 3), or (H, W, 4) where its `image` has transparency."""
        keep_size = self.request.keep_size
        each = result if result.ndim == 4 else result[None]
        if loaded.layout:
            objects = [self.preprocess.inverse_deep(one, loaded.placement) for one in each]
            channels = [loaded.layout.compose(channel, keep_size=keep_size) for channel in zip(*objects, strict=True)]
        else:
            channels = self.preprocess.inverse_deep(each[0], loaded.placement, keep_size=keep_size)
        return to_deep(channels, image.getchannel("A") if image.mode == "RGBA" else None)

    def _alpha(self, loaded: Loaded, image: Picture) -> Picture | None:
        """Return the transparency (L) of a result, None for none; of prepared drawings, that of the result itself."""
        if self.request.alpha == "cut" or (loaded.layout and loaded.alpha is not None):
            return cut_out(image, self.preprocess.paper)
        if loaded.alpha is None:
            return None
        small = self.preprocess.inverse(loaded.alpha, loaded.placement)
        own = small.getchannel(0)
        own = own if self.method.keeps_transparency else silhouette(own)
        return own if own.size == image.size else own.resize(image.size)

    def settings(self, format: str) -> dict[str, Any]:
        """Return everything that decides an output, except its own files and the version of the program."""
        settings = {
            **self.method.record(self.request, self.model),
            **self.plan.describe(),
            **self.tiling.record,
            "nfe": self.plan.nfe,
            "seed": self.request.seed,
            "dtype": torch_name(self.model.dtype),
            "fit": self.preprocess.fit,
            "keep_size": self.request.keep_size,
        }
        settings |= self.conditions.record()
        if self.request.alpha != "white":
            settings |= {"alpha": self.request.alpha}
        if self.request.bits != "8":
            settings |= {"bits": int(self.request.bits)}
        return settings | ({"quality": self.request.quality} if format in LOSSY else {})

    def own(self, job: Job) -> dict[str, Any]:
        """Return what else decides one output; None values are left out of its record.

        Raises:
            ImageError: its mask or its guide cannot be read, or it has no prompt, and others have.
        """
        own = {"noise_name": self.noise_name(job), "noise_draw": job.draw or None}
        return own | self.edit.describe(job.name) | self.conditions.own(job)

    def prepared(self, loaded: Loaded) -> dict[str, Any]:
        """Return what a record holds of an image that was prepared; one that was used as it is has nothing of it."""
        objects = {"objects": self.request.objects} if self.request.objects != "auto" else {}
        return {"prepare": self.preparation.spec, **objects, "prepared": ", ".join(loaded.notes)}

    def circumstances(self) -> dict[str, Any]:
        """Return what may change single levels of an output: devices other than the CPU, and batches."""
        device, batch = self.model.device.type, self.request.batch_size
        alone = self.model.is_batch_invariant or batch == 1
        where = {"device": None if device == "cpu" else device}
        where |= {name: getattr(self.request, name) or None for name in ("compile", "graph")}
        return where | {"batch_size": None if alone else batch}

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
