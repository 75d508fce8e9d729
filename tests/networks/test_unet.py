"""The light U-Net: what its output depends on, and that it is trained, stored and loaded as other networks are."""

import dataclasses

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import load_model
from ddbm_cli.models.assemble import assemble
from ddbm_cli.networks import UNetConfig
from ddbm_cli.networks.unet import Level, filled, smoothed
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train import request, run
from tests.tiny import tiny_card, write_pairs
from tests.training.interruptions import stopped_and_resumed
from tests.training.test_training import same, weights

SMALL = "unet:channels=8,depth=3"


def network(**fields):
    """A network whose layers of zeros are filled, so that all of its parts count."""
    torch.manual_seed(0)
    made = UNetConfig(**{"channels": 8, "depth": 3, **fields}).create().eval()
    for weight in made.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return made


@torch.no_grad()
def test_a_new_network_outputs_zeros_and_a_trained_one_depends_on_all_inputs():
    x, time = torch.randn(2, 6, 16, 24), torch.tensor([0.3])
    assert not UNetConfig(channels=8, depth=3).create()(x, time).any()
    made = network(classes=4)
    wanted = made(x, time)
    assert wanted.shape == (2, 3, 16, 24)
    state, source = x.clone(), x.clone()
    state[:, 0], source[:, 3] = 0, 0
    for other in (made(state, time), made(source, time), made(x, time + 1), made(x, time, torch.tensor([2]))):
        assert (other - wanted).abs().max() > 1e-4
    assert torch.equal(made(x, time, torch.tensor([-1])), wanted), "a negative label is none"
    assert torch.allclose(made(x, time.expand(2)), wanted, atol=1e-5)
    assert torch.allclose(made(x[1:], time), wanted[1:], atol=1e-5), "images do not affect each other"


@torch.no_grad()
def test_images_of_the_input_pass_to_the_output_with_a_weight_for_each_pixel():
    made, x = UNetConfig(channels=8, depth=3).create(), torch.randn(1, 7, 8, 8)
    made.out.bias.copy_(torch.tensor([0, 0, 0, 0.25, 2]))
    assert torch.allclose(made(x[:, :6], torch.zeros(1)), 0.25 * x[:, :3] + 2 * x[:, 3:6])
    patches = UNetConfig(channels=8, depth=2, patch=2).create()
    patches.out.bias.copy_(torch.tensor([0.0] * 12 + [0.25] * 4 + [2.0] * 4))
    assert torch.allclose(patches(x[:, :6], torch.zeros(1)), 0.25 * x[:, :3] + 2 * x[:, 3:6])
    noisy = UNetConfig(in_channels=7, channels=8, depth=3).create()
    noisy.out.bias.copy_(torch.tensor([0, 0, 0, 1.0, 0]))
    assert torch.allclose(noisy(x, torch.zeros(1)), x[:, :3]), "a further channel of noise is no image"


@torch.no_grad()
def test_the_pixels_of_a_patch_are_channels_of_the_first_level():
    made, x = network(depth=2, patch=2), torch.randn(1, 6, 16, 24)
    assert made.size_multiple == 8
    wanted = made(x, torch.zeros(1))
    assert wanted.shape == (1, 3, 16, 24)
    for row, column in ((4, 4), (4, 5), (5, 4), (5, 5)):
        other = x.clone()
        other[:, 3, row, column] += 1
        changed = (made(other, torch.zeros(1)) - wanted).abs().sum(1)[0]
        assert changed[row, column] > 1e-4, "each pixel of a patch counts"
    torch.nn.init.zeros_(made.out.weight)
    colours = torch.arange(12.0)
    made.out.bias.copy_(torch.cat([colours, torch.zeros(8)]))
    assert torch.equal(made(x, torch.zeros(1))[0, :, 6:8, 2:4], colours.unflatten(0, (3, 2, 2)))


@torch.no_grad()
def test_a_larger_level_has_no_checkerboard():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    inside = smoothed((board + 3).expand(1, 2, 8, 8))[:, :, 1:-1, 1:-1]
    assert torch.allclose(inside, torch.full_like(inside, 3))
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert torch.allclose(smoothed(ramp)[..., 1:-1], ramp[..., 1:-1]), "nothing is shifted"
    single = torch.zeros(1, 1, 5, 5)
    single[..., 2, 2] = 16
    row = torch.tensor([1.0, 2, 1])
    assert torch.allclose(smoothed(single)[0, 0, 1:-1, 1:-1], row[:, None] * row)
    level = Level(torch.nn.ConvTranspose2d(2, 8, 4, 2, 1), normalised=False)
    h = level.convolution(torch.nn.functional.silu(x := torch.randn(1, 2, 4, 4)))
    assert torch.allclose(level(x, torch.zeros(1, 128)), smoothed(h), atol=1e-6)


@pytest.mark.parametrize("field", [{"channels": 16}, {"depth": 2}, {"patch": 2}, {"fills": True}, {"classes": 2}])
def test_every_field_changes_the_network(field):
    shapes = [
        {name: value.shape for name, value in each.state_dict().items()} for each in (network(), network(**field))
    ]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_paper_is_filled_with_the_colour_of_the_lines_around_it(size):
    height, width = size
    white, colour = torch.ones(1, 3, *size), torch.tensor([0.6, -0.2, -0.8]).view(1, 3, 1, 1)
    assert torch.equal(filled(white), white), "an empty page stays white"
    outline = white.clone()
    for rows, columns in ((4, slice(4, -4)), (-5, slice(4, -4)), (slice(4, -4), 4), (slice(4, -4), -5)):
        outline[:, :, rows, columns] = colour[..., 0]
    made = filled(outline)
    assert torch.allclose(made[..., 5:-5, 5:-5], colour.expand(1, 3, height - 10, width - 10), atol=0.02)
    assert torch.allclose(filled(colour.expand(1, 3, *size)), colour.expand(1, 3, *size), atol=1e-5)
    halves = white.clone()
    halves[..., 8:-8, 6], halves[..., 8:-8, -7] = colour[..., 0], -colour[..., 0]
    left, right = filled(halves)[..., height // 2, 8], filled(halves)[..., height // 2, -9]
    assert (left[0] - colour[0, :, 0, 0]).abs().max() < (left[0] + colour[0, :, 0, 0]).abs().max()
    assert (right[0] + colour[0, :, 0, 0]).abs().max() < (right[0] - colour[0, :, 0, 0]).abs().max()
    assert torch.allclose(filled(torch.cat([halves, outline]))[1:], made, atol=1e-6), "images do not affect each other"


@torch.no_grad()
def test_dropout_is_for_training_only_and_for_the_narrowest_levels():
    x, time = torch.randn(1, 6, 32, 32), torch.tensor([0.3])
    made, plain = (network(depth=5, dropout=share) for share in (0.9, 0.0))
    assert torch.equal(made(x, time), plain(x, time))
    assert not torch.allclose(made.train()(x, time), plain(x, time), atol=1e-3)
    assert [level.dropout.p for level in made.up] == [0.9, 0.9, 0.9, 0, 0]


@torch.no_grad()
def test_the_filled_source_is_an_image_of_the_input():
    made, x = UNetConfig(channels=8, depth=3, fills=True).create(), torch.rand(1, 6, 8, 8) * 2 - 1
    made.out.bias.copy_(torch.tensor([0, 0, 0, 0, 0, 1.0]))
    assert torch.allclose(made(x, torch.zeros(1)), filled(x[:, 3:6]))
    assert not torch.allclose(filled(x[:, 3:6]), filled(x[:, :3]))


@pytest.mark.parametrize("fields", [{"in_channels": 3}, {"in_channels": 32, "out_channels": 16}])
def test_what_has_no_drawing_to_fill_is_refused(fields):
    with pytest.raises(UsageError, match="needs sources that are images"):
        UNetConfig(fills=True, **fields).create()


def test_it_computes_in_the_type_of_its_weights():
    made, x = network(), torch.randn(1, 6, 16, 16)
    wanted = made(x, torch.zeros(1))
    assert torch.allclose(made.double()(x, torch.zeros(1)), wanted.double(), atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = made.float()(x, torch.zeros(1))
    assert (mixed.float() - wanted).abs().max() < 0.1 * wanted.abs().max()


def asked(root, output="run", steps=8, **changes):
    recipe = {"steps": steps, "batch_size": 4, "warmup": 0, "save_every": 4, "validate_every": steps}
    given = {"data": [root / "pairs"], "output": root / output, "network": SMALL, "size": 16, "device": "cpu"}
    return request(given | changes | {"recipe": recipe | changes.get("recipe", {})})


def test_it_learns_and_resumes_to_the_bit(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    learns = {"learning_rate": 4e-3, "ema": 0.9}
    list(run(asked(tmp_path, "learns", 200, val_share=0.2, recipe=learns, prediction="preconditioned:output=target")))
    model = load_model(tmp_path / "learns" / "model.safetensors", device="cpu")
    assert model.card.scores["mse"] < 0.5 * model.card.scores["blank_mse"]
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    assert finish(model.translate(source, NoiseSource(0, list("ab")), model.plan(nfe=4))).shape == (2, 3, 16, 16)
    list(run(asked(tmp_path, "whole")))
    stopped_and_resumed(asked(tmp_path, "parts"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    with pytest.raises(UsageError, match="does not fit"):
        list(run(asked(tmp_path, "odd", size=20)))


def test_what_would_not_fit_into_memory_is_refused():
    card = tiny_card(network={"name": "unet", "channels": 2**12, "depth": 1})
    large = dataclasses.replace(card, preprocess=dataclasses.replace(card.preprocess, size=256))
    with pytest.raises(ModelError, match="too large for this network"):
        assemble(large)
