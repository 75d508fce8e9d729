"""CMMD is the mean discrepancy of its paper, on an encoder of random weights."""

import math

import pytest
import torch

from ddbm_cli.metrics import METRICS, Batch, MissingWeightsError, clip, cmmd
from tests.metrics.test_pixels import CPU, pictures


def unit(count, seed):
    points = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return points / points.norm(dim=1, keepdim=True)


def by_hand(first, second):
    """Equation (1), pair by pair."""

    def mean(a, b):
        return sum(math.exp(-float((x - y).square().sum()) / 200) for x in a for y in b) / (len(a) * len(b))

    return 1000 * (mean(first, first) + mean(second, second) - 2 * mean(first, second))


def test_it_is_the_papers_sum_over_all_pairs(monkeypatch):
    monkeypatch.setattr(cmmd, "ROWS", 4)
    first, second = unit(7, 0), unit(9, 1)
    assert cmmd.discrepancy(first, second) == pytest.approx(by_hand(first, second), abs=1e-9)
    assert cmmd.discrepancy(first, first) == pytest.approx(0, abs=1e-9)
    assert cmmd.discrepancy(first, second) == pytest.approx(cmmd.discrepancy(second, first))


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """A small encoder of CLIP's kind in the place of the published one."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.CLIPVisionModelWithProjection(config).eval()
    network.save_pretrained(tmp_path / "clip")
    monkeypatch.setattr(clip, "ENCODER", str(tmp_path / "clip"))
    monkeypatch.setenv("DDBM_HOME", str(tmp_path / "home"))
    return network


def measure(outputs, targets, step):
    metric = METRICS["cmmd"](CPU)
    for first in range(0, len(outputs), step):
        part = slice(first, first + step)
        metric.update(Batch(index=torch.arange(len(outputs))[part], outputs=outputs[part], targets=targets[part]))
    (figure,) = metric.figures()
    return figure


def test_images_go_to_the_encoder_as_clip_wants_them(encoder):
    noisy, smooth = pictures(count=6, size=48)
    figure = measure(noisy, smooth, 4)
    transformers = pytest.importorskip("transformers")
    from torch.nn.functional import interpolate

    prepare = transformers.CLIPImageProcessor(
        do_resize=False, do_center_crop=False, do_rescale=False, do_convert_rgb=False
    )
    sides = []
    for images in (noisy, smooth):
        wide = interpolate(images / 255, (28, 28), mode="bicubic").numpy()
        pixels = [prepare(image, input_data_format="channels_first", return_tensors="np") for image in wide]
        pixels = torch.cat([torch.as_tensor(each["pixel_values"]) for each in pixels])
        with torch.inference_mode():
            found = encoder(pixel_values=pixels).image_embeds.double()
        sides.append(found / found.norm(dim=1, keepdim=True))
    assert figure.count == 6 and figure.value == pytest.approx(by_hand(*sides), rel=1e-3, abs=1e-6)
    assert figure.value == pytest.approx(measure(noisy, smooth, 6).value, rel=1e-4)
    assert measure(smooth, smooth, 6).value == pytest.approx(0, abs=1e-4) and figure.value > 0


def test_targets_that_were_seen_are_not_encoded_again(encoder, monkeypatch):
    noisy, smooth = pictures(count=4, size=48)
    once = measure(noisy, smooth, 4).value
    asked = []
    embed = clip.ImageEncoder.__call__
    monkeypatch.setattr(
        clip.ImageEncoder, "__call__", lambda self, given: asked.append(len(given)) or embed(self, given)
    )
    assert measure(noisy, smooth, 4).value == once and asked == [4]


def test_without_its_encoder_it_is_not_given(monkeypatch, tmp_path):
    pytest.importorskip("transformers")
    monkeypatch.setattr(clip, "ENCODER", str(tmp_path / "nothing"))
    with pytest.raises(MissingWeightsError, match="not in the cache") as caught:
        METRICS["cmmd"](CPU)
    assert "hf download" in caught.value.hint
