"""Figures of edits by instruction: CLIP's, on random weights, are those of transformers; the others need no network."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ddbm_cli.imaging import edit_measures
from ddbm_cli.metrics import Batch, MissingWeightsError, clip, instructions
from ddbm_cli.metrics.instructions import (
    BY_INSTRUCTION,
    TRADE_OFFS,
    Agreement,
    ClipDirection,
    ClipSimilarity,
    Similarity,
)
from tests.metrics.test_pixels import CPU

TEXTS = ["make it red", "make it snow"]


@pytest.fixture
def batch():
    """Discs on white paper, one of which became red."""
    sides = []
    for colours in (("green", "green"), ("red", "blue")):
        images = [Image.new("RGB", (40, 40), "white") for _ in colours]
        for image, colour in zip(images, colours, strict=True):
            ImageDraw.Draw(image).ellipse((5, 8, 34, 30), fill=colour)
        sides.append(torch.stack([torch.as_tensor(np.array(image)).permute(2, 0, 1) for image in images]))
    return Batch(index=torch.arange(2), outputs=sides[1], sketches=sides[0])


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A small CLIP in the place of the published one."""
    transformers = pytest.importorskip("transformers")
    from tests.pipelines import write_clip

    with torch.random.fork_rng():
        folder = write_clip(tmp_path / "clip")
    monkeypatch.setattr(clip, "ENCODER", str(folder))
    return transformers.CLIPModel.from_pretrained(folder).eval()


def test_clips_figures_are_cosines_of_its_embeddings(network, batch, tmp_path):
    transformers = pytest.importorskip("transformers")
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (clip.MEAN, clip.STD))
    wide = [
        torch.nn.functional.interpolate(each / 255, (28, 28), mode="bicubic")
        for each in (batch.sketches, batch.outputs)
    ]
    words = transformers.CLIPTokenizer.from_pretrained(tmp_path / "clip")
    with torch.inference_mode():
        before, after = (network.visual_projection(network.vision_model((x - mean) / std).pooler_output) for x in wide)
        texts = [
            network.text_projection(network.text_model(**words(text, return_tensors="pt")).pooler_output)
            for text in (*TEXTS, "")
        ]
    unit = [x / x.norm(dim=1, keepdim=True) for x in (before, after, torch.cat(texts))]
    similarity = (unit[0] * unit[1]).sum(1)
    change, asked = unit[1] - unit[0], unit[2][:2] - unit[2][2]
    direction = (change * asked).sum(1) / change.norm(dim=1) / asked.norm(dim=1)
    assert torch.allclose(ClipSimilarity(CPU, texts=TEXTS)(batch), similarity, atol=1e-5)
    assert torch.allclose(ClipDirection(CPU, texts=TEXTS)(batch), direction, atol=1e-3)


def test_both_metrics_of_clip_embed_a_batch_once(network, batch, monkeypatch):
    embedded = []
    encode = clip.ImageEncoder.__call__
    monkeypatch.setattr(clip.ImageEncoder, "__call__", lambda own, x: embedded.append(len(x)) or encode(own, x))
    metrics = [metric(CPU, texts=TEXTS) for metric in (ClipSimilarity, ClipDirection)]
    for _ in range(2):
        again = Batch(index=batch.index, outputs=batch.outputs.clone(), sketches=batch.sketches)
        for metric in metrics:
            metric(again)
    assert embedded == [2, 2, 2, 2]  # sources and outputs of two batches


def test_an_unchanged_image_has_no_direction(network, batch):
    same = Batch(index=batch.index, outputs=batch.sketches, sketches=batch.sketches)
    assert ClipDirection(CPU, texts=TEXTS)(same).isnan().all()
    assert torch.allclose(ClipSimilarity(CPU, texts=TEXTS)(same), torch.ones(2))


def test_without_clip_there_are_the_measures_of_attributes(batch, tmp_path, monkeypatch):
    agreement = Agreement(CPU, texts=TEXTS)(batch)
    assert agreement[0] > 0.3 and math.isnan(agreement[1])
    pictures = [Image.fromarray(each[0].permute(1, 2, 0).numpy()) for each in (batch.sketches, batch.outputs)]
    assert agreement[0] == pytest.approx(edit_measures.agreement(TEXTS[0], *pictures))
    assert Similarity(CPU, texts=TEXTS)(batch)[0] == pytest.approx(edit_measures.similarity(*pictures))
    pytest.importorskip("transformers")
    monkeypatch.setattr(clip, "ENCODER", str(tmp_path / "nothing"))
    with pytest.raises(MissingWeightsError, match="not in the cache"):
        ClipSimilarity(CPU, texts=TEXTS)


def test_a_wider_source_is_compared_by_its_middle(batch):
    wide = torch.nn.functional.pad(batch.outputs, (10, 10), value=0)
    cut = Batch(index=batch.index, outputs=batch.outputs, sketches=wide)
    assert torch.equal(instructions.sources(cut), batch.outputs)
    assert Similarity(CPU, texts=TEXTS)(cut).tolist() == [1, 1]


def test_texts_belong_to_images_by_their_index(batch):
    reverse = Batch(index=torch.tensor([1, 0]), outputs=batch.outputs, sketches=batch.sketches)
    assert Agreement(CPU, texts=TEXTS[::-1])(reverse)[0] == Agreement(CPU, texts=TEXTS)(batch)[0]


def test_each_plot_has_an_agreement_and_a_similarity():
    assert {label for pair in TRADE_OFFS for label in pair} == {metric.label for metric in BY_INSTRUCTION}
