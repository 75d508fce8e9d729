"""A loaded model that is called on images."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from ddbm_cli.api.settings import GridLike, SamplerLike, spelled, with_spelled
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.objects import Form, ImageLike, as_form, read_objects
from ddbm_cli.methods import method_of
from ddbm_cli.methods.conditions import conditioned
from ddbm_cli.models import ModelCard, TranslationModel, loading
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import ConditionOptions
from ddbm_cli.registry.locate import Locating
from ddbm_cli.registry.locate import finish as located
from ddbm_cli.samplers import (
    GRIDS,
    Evaluation,
    Noise,
    NoiseSource,
    Plan,
    Start,
    finish,
)
from ddbm_cli.tasks import sample as sample_task
from ddbm_cli.tasks.batch_size import auto_batch_size
from ddbm_cli.tasks.making import Loaded, Maker
from ddbm_cli.tasks.request import TranslateRequest

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called after every network evaluation of a batch, with the number of those done and of all."""

OF_THE_MODEL = {"source", "output", "model", "direction", "device", "dtype", "noise_name"}
"""Options of `ddbm translate` that a loaded model does not take."""

THIS = "this model"
SOURCES = "the model of the sources"
"""References to loaded models, in a request."""


class Model:
    """A model that is ready to use; see `load_model`."""

    def __init__(
        self, model: TranslationModel, *, reference: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        """options: those of every call that gives no others, such as a prompt."""
        self._model = model
        self._reference = reference
        self._options = dict(options or {})

    def __repr__(self) -> str:
        return f"<ddbm model '{self.name}': {self.card.task}, on {self.device}>"

    @property
    def reference(self) -> str | None:
        """What the model was loaded by, None for the default model."""
        return self._reference

    @property
    def translation_model(self) -> TranslationModel:
        """The model that tasks use."""
        return self._model

    @property
    def name(self) -> str:
        """The name in the model card."""
        return self._model.name

    @property
    def card(self) -> ModelCard:
        """What the model is, and how it samples by default."""
        return self._model.card

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._model.device

    @property
    def size(self) -> int | tuple[int, int]:
        """The size of the model's images in pixels: the side of a square, or (width, height)."""
        return self.card.preprocess.size

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        names: str | Sequence[str] | None = None,
        source_model: "Model | str | None" = None,
        sampler: SamplerLike | None = None,
        grid: GridLike | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
        output: Form | None = None,
        **options: Any,
    ) -> Any:
        """Translate one image or several.

        Args:
            images: as of `imaging.objects.read_objects`: paths, PIL images, arrays (uint8) or tensors (float, -1..1).
            names: names that seed the noise; by default the file name, or the position for images without one.
            source_model: for method "ddib", the prior of the sources.
            sampler, grid: as on the command line ("heun:churn=0.33"), as {"name": ..., field: value}, or as objects.
            batch_size: images per batch; by default 1 on the CPU, where an image then does not depend on others.
            progress: called after every network evaluation.
            output: form of the results, "image", "array" or "tensor"; by default that of the input.
            options: the other options of `ddbm translate`: method, nfe, steps, seed, strength, repeats, guide, mask,
                fit, keep_size, class_name, prompt, guidance_scale, image_guidance_scale.

        Returns:
            What was given, a single image or a list: a PIL image (RGB), uint8 (H, W, 3), or float32 (3, H, W) in -1..1.

        Raises:
            UsageError: an option or an object cannot be used.
            ImageError: a file cannot be read, or a result contains NaN or infinity.
        """
        maker = self._maker(options, sampler, grid, source_model, batch_size)
        given, several = read_objects(images)
        named = (
            [names] if isinstance(names, str) else list(names) if names is not None else [each.name for each in given]
        )
        if len(named) != len(given):
            raise UsageError(f"{len(named)} names for {len(given)} images", hint="pass one name for each image")
        size = maker.batch_size
        jobs = [Job(name, Path(name), Path()) for name in named]
        loaded = [maker.load(job, lambda body=each.body: body) for job, each in zip(jobs, given, strict=True)]  # type: ignore[misc]
        batches = [loaded[first : first + size] for first in range(0, len(loaded), size)]
        results = [
            as_form(image, output or each.form)
            for image, each in zip(_make(maker, batches, progress), given, strict=True)
        ]
        return results if several else results[0]

    def sample(self, number: int = 1, *, start: int = 0, progress: Progress | None = None, **options: Any) -> list[Any]:
        """Generate images from noise, with a prior.

        Args:
            number: how many. start: number of the first, which seeds its noise together with the seed.
            progress: called after every network evaluation.
            options: nfe, steps, seed, sampler, grid, batch_size, class_name, guidance_scale.

        Returns:
            PIL images (RGB), with the pixels that `ddbm sample` writes for the same numbers and seed.

        Raises:
            UsageError: the model is a bridge, or an option cannot be used.
        """
        request = sample_task.request(
            **self._options | with_spelled(options), model=self._reference, number=number, start=start, output=Path()
        )
        maker = sample_task.noise_maker(request, self._model)
        size = request.batch_size or auto_batch_size(self._model)
        loaded = [maker.load(job, bytes) for job in sample_task.numbered(request).jobs]
        return list(_make(maker, [loaded[first : first + size] for first in range(0, number, size)], progress))

    def plan(
        self,
        sampler: SamplerLike | None = None,
        grid: GridLike | None = None,
        steps: int | None = None,
        nfe: int | None = None,
        *,
        start: Mapping[str, Any] | Start | None = None,
    ) -> Plan:
        """Return a plan: what is given, else the model's defaults.

        Raises:
            UsageError: an unknown name, a value out of range, or both steps and nfe.
        """
        return self._model.plan(sampler, grid, steps, nfe, start=start)

    def translate(
        self,
        source: Tensor,
        noise: Noise | int = 0,
        plan: Plan | None = None,
        *,
        mask: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Translate a batch of tensors of the model's size.

        Args:
            source: (B, C, H, W), float32 in -1..1.
            noise: a `NoiseSource`, any function from a state (B, C, H, W) to noise of its shape, or a seed.
            plan: as of `plan`; None for the model's defaults.
            mask: (B, 1, H, W), 1 where the source may change; for priors and inpainting models.
            progress: called after every network evaluation.

        Returns:
            (B, C, H, W), float32, on the CPU; values may leave -1..1 slightly.
        """
        chosen = plan or self.plan()
        return finish(_reported(self.evaluations(source, noise, chosen, mask=mask), chosen.nfe, progress))

    def evaluations(
        self, source: Tensor, noise: Noise | int = 0, plan: Plan | None = None, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `translate`, as a generator: yields every network evaluation (number, t, x, x0), returns the result."""
        drawn = NoiseSource(noise, [str(row) for row in range(len(source))]) if isinstance(noise, int) else noise
        return self._model.translate(source, drawn, plan or self.plan(), mask=mask)

    def _maker(
        self,
        options: Mapping[str, Any],
        sampler: SamplerLike | None,
        grid: GridLike | None,
        source_model: "Model | str | None",
        batch_size: int | None,
    ) -> Maker:
        known = {field.name for field in fields(TranslateRequest)}
        for name in options:
            if name not in known - OF_THE_MODEL:
                raise UsageError(f"unknown option '{name}'", hint="see: help(ddbm_cli.Model.__call__)")
        given = (
            self._options
            | dict(options)
            | {
                "source": THIS,
                "model": THIS,
                "sampler": spelled(sampler),
                "grid": spelled(grid, GRIDS),
                "batch_size": batch_size,
            }
        )
        given["source_model"] = SOURCES if isinstance(source_model, Model) else source_model
        request = from_options(TranslateRequest, given, command="translate")
        loaded = {THIS: self._model}
        if isinstance(source_model, Model):
            loaded[SOURCES] = source_model._model

        def load(reference: str | None) -> Locating[TranslationModel]:
            if reference in loaded:
                return loaded[reference]
            return (yield from loading(reference, device=str(self.device)))

        method = method_of(request)
        model = located(method.load(request, load))
        return Maker(request, method, model, method.plan(request, model))


def load_model(
    reference: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    direction: str = "AtoB",
    prompt: str = "",
    guidance_scale: float | None = None,
) -> Model:
    """Load a model, and download it first if necessary.

    Args:
        reference: a name of `ddbm weights list`, a file, a run folder, "owner/repository", or "diffusers:" with a
            folder or repository; None for the default model.
        device: "auto" (a GPU where there is one), "cpu", "cuda:1", "mps".
        dtype: "auto" (bfloat16 on GPUs that have it, else float32), "fp32", "fp16", "bf16".
        direction: "AtoB" or "BtoA", for models that translate in both.
        prompt, guidance_scale: of all calls that give no others, for models that take a text; the default scale is
            7.5 for pipelines of diffusers, else 1.

    Raises:
        ModelError: the model is not available, or damaged.
        UsageError: no such device, dtype or direction.
    """
    if not isinstance(reference, str | Path | None):
        raise UsageError(f"{type(reference).__name__} is not a model", hint="pass a name, a file or a folder")
    loaded = located(loading(reference, device=device, dtype=dtype, direction=direction, texts=(prompt,)))
    options = {"prompt": prompt, "guidance_scale": guidance_scale} if prompt else {}
    if options:
        loaded = conditioned(from_options(ConditionOptions, options, command="translate"), loaded)
    return Model(loaded, reference=None if reference is None else str(reference), options=options)


def _make(maker: Maker, batches: Sequence[Sequence[Loaded]], progress: Progress | None) -> Iterator[Any]:
    """Yield the images of all batches."""
    total, done = sum(maker.nfe(batch) for batch in batches), 0
    for batch in batches:
        calls = _reported(maker.run(batch), total, progress, done)
        for loaded, result in zip(batch, finish(calls), strict=True):
            yield maker.finish(loaded, result)
        done += maker.nfe(batch)


def _reported(
    calls: Generator[Evaluation, None, T], total: int, progress: Progress | None, done: int = 0
) -> Generator[Evaluation, None, T]:
    """Pass evaluations on, and report each."""
    while True:
        try:
            call = next(calls)
        except StopIteration as stop:
            return cast(T, stop.value)
        if progress:
            progress(done + call.nfe, total)
        yield call
