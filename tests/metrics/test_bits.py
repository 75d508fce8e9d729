"""Bits per dimension: a known density, and the command."""

import math

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.preprocess import Preprocess, to_picture
from ddbm_cli.metrics import METRICS, Batch
from ddbm_cli.paths import VE
from ddbm_cli.tasks.evaluate import EvaluateRequest, Reported, run
from tests.tasks.test_sample import PRIOR
from tests.tiny import picture, write_tiny

CPU = torch.device("cpu")


def pictures(count=6, side=16):
    """Grey noise about a mean, and its law."""
    noise = 0.25 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return ((noise.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def denoise(x, t, source):
    return 0.25**2 / (0.25**2 + t**2) * x


def measure(pixels, **changes):
    made = {"denoise": denoise, "path": VE(), "preprocess": Preprocess(size=16), "steps": 30} | changes
    return METRICS["bpd"](CPU, **made)(Batch(index=torch.arange(len(pixels)), outputs=pixels))


def test_bits_are_the_entropy_of_a_known_distribution():
    """A normal law of std 0.25 in 256 levels of 1/127.5: its entropy in bits, plus log2 of the levels in a unit."""
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 0.25**2) + math.log2(127.5)
    assert float(measure(pictures()).mean()) == pytest.approx(entropy, rel=0.005)


def test_neighbours_and_order_do_not_count():
    pixels = pictures(3)
    together = measure(pixels)
    assert torch.allclose(together.flip(0), measure(pixels.flip(0)), atol=1e-6)
    assert torch.allclose(together[1:2], measure(pixels[1:2]), atol=1e-6)


def test_seed_and_steps_act():
    pixels = pictures(1)
    values = [float(measure(pixels, **changes)) for changes in ({}, {"seed": 1}, {"steps": 3})]
    assert len({*values}) == 3


def test_images_are_brought_to_the_size_of_the_prior():
    large = pictures(2, side=40)
    square = Preprocess(size=16)
    small = torch.stack([square.forward(to_picture(each.float() / 127.5 - 1))[0] for each in large])
    assert torch.allclose(measure(large), measure(((small + 1) * 127.5).round().to(torch.uint8)), atol=1e-6)


def evaluate(folder, **given):
    return list(run(EvaluateRequest(outputs=folder, device="cpu", **given)))


def test_a_folder_is_measured_with_a_prior(tmp_path):
    model = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    bridge = str(write_tiny(tmp_path / "bridge.safetensors"))
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index).save(tmp_path / "in" / f"{index}.png")
    table = tmp_path / "table.csv"
    (*_, reported) = evaluate(tmp_path / "in", prior=model, steps=2, per_image=table)
    assert isinstance(reported, Reported) and [figure.name for figure in reported.figures] == ["bpd"]
    (figure,) = reported.figures
    assert figure.count == 3 and math.isfinite(figure.value) and "4 NFE" in figure.recipe
    lines = table.read_text().splitlines()
    assert lines[0] == "name,bpd"
    assert sum(float(line.split(",")[1]) for line in lines[1:]) / 3 == pytest.approx(figure.value, rel=1e-5)
    (*_, again) = evaluate(tmp_path / "in", prior=model, steps=4)
    assert again.figures[0].value != figure.value
    with pytest.raises(UsageError, match="is a bridge"):
        evaluate(tmp_path / "in", prior=bridge)
    with pytest.raises(UsageError, match="metric 'bpd' needs prior") as caught:
        evaluate(tmp_path / "in", metrics=("bpd",))
    assert "-m" in caught.value.hint
