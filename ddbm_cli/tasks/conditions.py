"""What each image of a run is conditioned on: its class or its prompt, and the guidance scales."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.prompts import Prompts
from ddbm_cli.methods.conditions import check_texts, doubts_of, guidance_of, label_of, record_of
from ddbm_cli.models import TranslationModel
from ddbm_cli.models.labels import class_of, no_label, text_label
from ddbm_cli.options.groups import ConditionOptions


class JobConditions:
    """The conditions of a run.

    Args:
        request: class, prompt and scales.
        model: what is conditioned.
        prompts: of single images.
        in_turn: where no class is given, images are numbered, and get the classes in turn.

    Raises:
        UsageError: conditions that the model does not have, or a text that is too long.
    """

    def __init__(
        self, request: ConditionOptions, model: TranslationModel, prompts: Prompts, *, in_turn: bool = False
    ) -> None:
        self._request, self._model, self._prompts = request, model, prompts
        self._guidance = guidance_of(request, model, in_turn=in_turn, texts=prompts.each)
        self._label = label_of(request, model, in_turn=in_turn, texts=prompts.each)
        self._in_turn = in_turn and self._label is None and model.classes > 0
        check_texts(model, prompts.items())

    def applied(self, model: TranslationModel, jobs: Sequence[Job]) -> TranslationModel:
        """Return a model with the classes or texts of a batch."""
        labels = [label for job in jobs if (label := self.label(job)) is not None]
        return model.with_conditions(torch.stack(labels) if labels else None, self._guidance)

    def label(self, job: Job) -> Tensor | None:
        """Return the class of an image or the label of its text; None if the network takes neither.

        Raises:
            ImageError: it has no prompt, and others have.
        """
        if self._label is not None:
            return self._label
        if self._in_turn:
            return torch.tensor(int(job.name) % self._model.classes)
        return text_label(self._model, self._prompts.of(job)) if self._prompts.each else no_label(self._model)

    def doubts(self) -> list[str]:
        """Return what the model hardly knows of the texts, in words."""
        return doubts_of([self._request.prompt, *(text for _, text in self._prompts.items())], self._model)

    def record(self) -> dict[str, Any]:
        """Return what the records of all images hold."""
        return record_of(self._request, self._model, self._guidance, texts=self._prompts.each)

    def own(self, job: Job) -> dict[str, Any]:
        """Return what the record of one image holds besides; None values are left out.

        Raises:
            ImageError: as `label`.
        """
        own: dict[str, Any] = {"prompt": self._prompts.of(job)} if self._prompts.each else {}
        label = self.label(job) if self._model.classes else None
        return own if label is None else own | {"class": class_of(self._model.card, int(label))}
