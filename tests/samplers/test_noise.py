"""Noise belongs to the image."""

import torch

from ddbm_cli.samplers import NoiseSource


def test_noise_belongs_to_the_image():
    """Alone or in company, first or last: the same name has the same noise; all else differs."""
    like = torch.zeros(2, 3, 4, 4)
    both, alone = NoiseSource(7, ["a", "b"]), NoiseSource(7, ["b"])
    first, second = both(like), both(like)
    assert torch.equal(first[1:], alone(like[:1])) and torch.equal(second[1:], alone(like[:1]))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first, second)
    assert not torch.equal(first, NoiseSource(8, ["a", "b"])(like))
    assert not torch.equal(first, NoiseSource(7, ["a", "b"], draw=1)(like))


def test_noise_is_standard_normal():
    draw = NoiseSource(0, ["x"])(torch.zeros(1, 3, 200, 200))
    assert abs(float(draw.mean())) < 0.01 and abs(float(draw.std()) - 1) < 0.01
