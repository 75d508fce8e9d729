"""The README.md of a model on the hub, from its card: what the model is, how to use it, data and scores."""

import json
from typing import Any

from ddbm_cli.models.card import ModelCard


def model_readme(card: ModelCard, *, repo: str = "", file: str = "model.safetensors") -> str:
    """Return the text of a README.md, with the hub's front matter.

    repo: the repository of the model, "owner/name", if known. file: the model's file in it.
    """
    is_prior = card.kind == "prior"
    name = repo or file
    back = f"ddbm translate INPUT OUTPUT -m {name} --direction BtoA\n" if card.directions else ""
    command = f"ddbm sample -n 16 -o samples/ -m {name}" if is_prior else f"ddbm translate INPUT OUTPUT -m {name}"
    front = {
        "license": _licence(card.licence),
        "library_name": "ddbm-cli",
        "pipeline_tag": "unconditional-image-generation" if is_prior else "image-to-image",
        "tags": ["diffusion", "prior" if is_prior else "diffusion-bridge", card.path["name"]],
    }
    rows = {
        "task": card.task,
        "images": card.preprocess.words,
        "data": card.data,
        "limits": card.limits,
        "licence": card.licence,
        "network": _plain(card.network),
        "path": _plain(card.path),
        "prediction": _plain(card.prediction),
        "sampling": _plain(card.defaults),
        "training": _plain(card.training),
        "held out": _plain(card.scores),
    }
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items() if value)
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    return (
        f"---\n{lines}---\n\n# {card.name}\n\n{card.task}, {card.limits}.\n\n"
        f"```\npip install ddbm-cli\n{command}\n{back}```\n\n| | |\n|---|---|\n{table}"
    )


def _licence(words: str) -> str:
    """Return the hub's identifier of a licence."""
    known = words.lower().replace(" ", "-")
    return known if known in ("mit", "apache-2.0", "cc-by-4.0", "cc-by-nc-sa-4.0", "cc0-1.0") else "other"


def _plain(facts: Any) -> str:
    if isinstance(facts, dict):
        return ", ".join(
            f"{key.replace('_', ' ')} {_plain(value)}" for key, value in facts.items() if value is not None
        )
    return " ".join(map(_plain, facts)) if isinstance(facts, list | tuple) else f"{facts}"
