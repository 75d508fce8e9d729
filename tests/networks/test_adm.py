"""The network has the released parameters, gives the official outputs, and keeps its promises at any setting."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, describe
from ddbm_cli.networks import ADM, NETWORKS, ADMConfig, pack, packed
from ddbm_cli.networks.blocks import LARGE_WEIGHT, Attention, Conv, norm, place_features, time_features, zero
from tests.golden_networks import CONFIGS, golden_network

RELEASED = {
    "edges2handbags-vp-64": ADMConfig(),
    "diode-vp-256": ADMConfig(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(8, 16, 32)),
}

SMALL = {"channels": 16, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "head_channels": 8}


def network(seed=0, **changes):
    """A small network with random weights, also where a new one has zeros."""
    torch.manual_seed(seed)
    made = ADMConfig(**(SMALL | changes)).create()
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return made.eval()


def inputs(batch=2, size=16, seed=0, channels=6):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, size, size, generator=random), 300 * torch.randn(batch, generator=random)


def relative(value, wanted):
    return float((value - wanted).detach().abs().max() / wanted.detach().abs().max())


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_are_those_of_the_released_checkpoint(name, golden):
    released = json.loads((golden / f"keys.{name}.json").read_text())
    with torch.device("meta"):
        made = RELEASED[name].create()
    assert {key: list(value.shape) for key, value in made.state_dict().items()} == released["keys"]
    assert sum(parameter.numel() for parameter in made.parameters()) == released["parameters"]


@pytest.mark.parametrize("how", ["plain", "differentiable", "packed", "winograd"])
@pytest.mark.parametrize("name", CONFIGS)
def test_output_equals_the_official_one(name, how, golden, monkeypatch):
    """`network_output` was recorded from the network alone, on x_t as it is; scaled inputs are the denoiser's test."""
    made = golden_network(name)
    values = load_file(golden / f"unet-{name}.io.safetensors")
    if how in ("packed", "winograd"):
        pack(made.requires_grad_(False))
    if how == "winograd":  # as for large networks
        monkeypatch.setattr(packed, "LEAST_CHANNELS", 1)
        monkeypatch.setattr(packed, "LEAST_PLACES", 1)
    with torch.set_grad_enabled(how == "differentiable"):
        output = made(torch.cat([values["x_t"], values["x_T"]], dim=1), values["time_input"])
    assert relative(output, values["network_output"]) < 2e-5


def test_time_features_are_cosines_then_sines_of_the_time_as_fed():
    time = torch.tensor([0.0, 1.5, -700.0], dtype=torch.float64)
    features = time_features(time, 8)
    angles = time[:, None] * 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    assert features.dtype == torch.float32
    assert torch.allclose(features.double(), torch.cat([angles.cos(), angles.sin()], dim=1), atol=1e-4)


def test_places_are_symmetric_about_the_middle_and_belong_to_no_image():
    places = place_features(torch.zeros(2, 3, 4, 6))
    assert places.shape == (2, 16, 4, 6) and torch.equal(places[0], places[1])
    rows, columns = places[0, :8], places[0, 8:]
    assert torch.equal(rows[:, :, 0], rows[:, :, 5]) and torch.equal(columns[:, 0], columns[:, 3])
    for axis, side in ((1, rows), (2, columns)):  # the sines change their sign, the cosines stay
        assert torch.allclose(side[:4], -side[:4].flip(axis), atol=1e-6)
        assert torch.allclose(side[4:], side[4:].flip(axis), atol=1e-6)
    middle = (torch.arange(6) + 0.5) / 3 - 1
    assert torch.allclose(columns[0, 0], torch.sin(torch.pi / 2 * middle))


@pytest.mark.parametrize("places", [False, True])
def test_places_alone_tell_equal_positions_apart(places):
    made, seen = network(places=places, patch=2), []
    made.input_blocks[0].register_forward_hook(lambda _layer, _given, output: seen.append(output.detach()))
    made(torch.ones(1, 6, 32, 32), torch.zeros(1))
    inside = seen[0][0, :, 1:-1, 1:-1]
    assert bool((inside == inside[:, :1, :1]).all()) != places
    assert made.state_dict()["input_blocks.0.0.weight"].shape[1] == (40 if places else 24)


@pytest.mark.parametrize("axis", [2, 3])
def test_mirrored_inputs_reach_the_first_layer_in_their_places(axis):
    """With weights of a mirrored part alone, the first layer gives what those of the image do for a mirrored one."""
    made, seen = network(mirrors=True, places=True, patch=2), []
    layer = made.input_blocks[0][0]
    own = layer.weight.detach()[:, :24].clone()
    first = {3: 40, 2: 64}[axis]
    x, time = torch.randn(1, 6, 16, 16), torch.zeros(1)
    made.input_blocks[0].register_forward_hook(lambda _layer, _given, output: seen.append(output.detach()))
    for place in (0, first):
        with torch.no_grad():
            layer.weight.zero_()[:, place : place + 24] = own
        made(x if place else x.flip(axis), time)
    assert torch.allclose(seen[0], seen[1], atol=1e-6) and seen[0].std() > 0.1


@pytest.mark.parametrize("mirrors", [False, True])
def test_the_output_can_be_a_copy_of_any_image_of_the_input(mirrors):
    """With a bias of the last layer alone, the output is the image that its place belongs to, times the bias."""
    made, patch = network(mirrors=mirrors, copies=True, patch=2), 2
    zero(made.out[2])
    x = torch.randn(2, 6, 16, 16)
    images = [each for side in ([x, x.flip(3), x.flip(2)] if mirrors else [x]) for each in side.split(3, dim=1)]
    assert not made(x, torch.zeros(1)).any()
    for index, image in enumerate(images):
        with torch.no_grad():
            made.out[2].bias.zero_()[(3 + index) * patch**2 : (4 + index) * patch**2] = 0.5
        assert torch.equal(made(x, torch.zeros(1)), 0.5 * image)


def test_a_copy_can_have_other_colours():
    """With a bias alone: the matrix of colours is added to that of no change, row by row."""
    made, matrix = network(copies=True), torch.randn(3, 3)
    zero(made.out[2])
    x = torch.randn(2, 6, 16, 16)
    with torch.no_grad():
        made.out[2].bias[3] = 1  # the first image alone
        made.out[2].bias[5:] = matrix.flatten()
    changed = torch.einsum("oc,bchw->bohw", torch.eye(3) + matrix, x[:, :3])
    assert torch.allclose(made(x, torch.zeros(1)), changed, atol=1e-5)


@pytest.mark.parametrize("mirrors", [False, True])
def test_further_channels_are_not_copied(mirrors):
    made = network(in_channels=7, mirrors=mirrors, copies=True)
    zero(made.out[2])
    with torch.no_grad():
        made.out[2].bias[3:5] = 1  # the first two images
    x = torch.randn(1, 7, 8, 8)
    assert torch.equal(made(x, torch.zeros(1)), x[:, :3] + x[:, 3:6])


def test_an_image_of_one_position_can_be_normalised():
    """32 channels in 32 groups: each group has one value, and its normalised value is 0."""
    layer = norm(32)
    torch.nn.init.normal_(layer.bias)
    assert torch.allclose(layer(torch.randn(1, 32, 1, 1)).flatten(), layer.bias, atol=1e-3)


def test_attention_is_the_textbook_one_on_thirds_of_the_channels():
    torch.manual_seed(0)
    layer = Attention(16, head_channels=4)
    torch.nn.init.normal_(layer.proj_out.weight)
    x = torch.randn(2, 16, 3, 5)
    q, k, v = F.conv2d(layer.norm(x), layer.qkv.weight, layer.qkv.bias).flatten(2).chunk(3, dim=1)
    heads = []
    for head in range(4):
        part = slice(4 * head, 4 * head + 4)
        weights = torch.softmax(q[:, part].transpose(1, 2) @ k[:, part] / 2, dim=-1)
        heads.append(v[:, part] @ weights.transpose(1, 2))
    wanted = x + F.conv2d(torch.cat(heads, dim=1).view(x.shape), layer.proj_out.weight, layer.proj_out.bias)
    assert torch.allclose(layer(x, torch.empty(0)), wanted, atol=1e-5)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_product_is_the_same_convolution(side, channels_last):
    """Wide enough for a CPU to take the product of patches, which the convolution with derivatives never does."""
    torch.manual_seed(0)
    layer = Conv(512, 512, side)
    assert side == 1 or layer.weight.numel() >= LARGE_WEIGHT
    x = torch.randn(2, 512, 5, 6)
    if channels_last:
        layer, x = layer.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    wanted = F.conv2d(x, layer.weight, layer.bias, padding=side // 2)
    with torch.no_grad():
        assert relative(layer(x), wanted) < 1e-5
    assert relative(layer(x), wanted) < 1e-5


def test_a_new_network_gives_zero():
    x, time = inputs()
    assert not ADMConfig(**SMALL).create()(x, time).any()


@pytest.mark.parametrize("changes", [{}, {"patch": 2}, {"classes": 3}, {"dropout": 0.2}])
def test_every_parameter_has_a_gradient(changes):
    made = network(**changes).train()
    x, time = inputs()
    label = torch.tensor([0, 2]) if "classes" in changes else None
    made(x, time, label).square().mean().backward()
    assert [name for name, each in made.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_without_derivatives_the_result_is_the_same_and_inputs_are_kept():
    """Layers overwrite what they need no more; the arguments are not theirs."""
    made = network(patch=2)
    x, time = inputs()
    wanted, before = made(x, time), (x.clone(), time.clone())
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert relative(made(x, time), wanted) < 1e-5
            assert torch.equal(x, before[0]) and torch.equal(time, before[1])


@torch.no_grad()
def test_neighbours_in_a_batch_do_not_matter():
    made = network()
    x, time = inputs(batch=5)
    together = made(x, time)
    for index in range(5):
        assert relative(made(x[index : index + 1], time[index : index + 1]), together[index : index + 1]) < 1e-5


@torch.no_grad()
def test_one_time_holds_for_the_whole_batch():
    made = network()
    x, time = inputs(batch=3)
    assert relative(made(x, time[:1]), made(x, time[:1].expand(3))) < 1e-5


@torch.no_grad()
def test_memory_format_does_not_matter():
    made = network()
    x, time = inputs()
    wanted = made(x, time)
    assert relative(made(x.to(memory_format=torch.channels_last), time), wanted) < 1e-5
    made.to(memory_format=torch.contiguous_format)
    assert relative(made(x, time), wanted) < 1e-5


@torch.no_grad()
def test_the_weights_say_in_which_type_to_compute():
    made = network()
    x, time = inputs()
    wanted = made(x, time)
    assert relative(made.double()(x, time), wanted.double()) < 1e-5
    output = made.bfloat16()(x, time)
    assert output.dtype == torch.bfloat16 and relative(output.float(), wanted) < 0.1


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_sizes_that_are_multiples_are_kept(patch):
    made = network(patch=patch)
    assert made.size_multiple == 2 * patch
    x = torch.randn(1, 6, 3 * made.size_multiple, made.size_multiple)
    assert made(x, torch.zeros(1)).shape == (1, 3, *x.shape[2:])


def test_a_patch_makes_the_network_cheaper():
    def cost(patch):
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            ADM(ADMConfig(**SMALL, patch=patch))(torch.empty(1, 6, 64, 64), torch.empty(1))
        return counter.get_total_flops()

    assert cost(2) < cost(1) / 3
    assert cost(4) < cost(2) / 2


@torch.no_grad()
def test_labels_steer_a_network_with_classes():
    made = network(classes=3)
    x, time = inputs()
    first, second = (made(x, time, torch.tensor(label)) for label in ([0, 1], [2, 1]))
    assert not torch.allclose(first[0], second[0]) and torch.allclose(first[1], second[1])
    assert torch.allclose(made(x, time, torch.tensor([-1, 1]))[0], made(x, time)[0], atol=1e-6), "nothing is told"
    with pytest.raises(AssertionError, match="label"):
        network()(x, time, torch.tensor([0, 1]))


@torch.no_grad()
def test_time_and_head_channels_change_the_output():
    x, time = inputs()
    output = network()(x, time)
    assert not torch.allclose(network()(x, time + 1), output, atol=1e-3)
    assert not torch.allclose(network(head_channels=16)(x, time), output, atol=1e-3)


def test_dropout_is_for_training_only():
    x, time = inputs()
    made, plain = network(dropout=0.5), network()
    assert torch.equal(made(x, time), plain(x, time))
    assert not torch.allclose(made.train()(x, time), plain(x, time), atol=1e-3)


@pytest.mark.parametrize("field", ["channels", "multipliers", "blocks", "attention", "in_channels", "out_channels"])
def test_every_other_field_changes_the_parameters(field):
    other = {"channels": 8, "multipliers": (2, 2), "blocks": 2, "attention": (1,), "in_channels": 3, "out_channels": 1}
    shapes = [
        {name: value.shape for name, value in network(**changes).state_dict().items()}
        for changes in ({}, {field: other[field]})
    ]
    assert shapes[0] != shapes[1]


def test_heads_must_share_the_channels_evenly():
    with pytest.raises(UsageError, match="26 channels cannot be shared by 3 heads"):
        ADMConfig(channels=26, multipliers=(1,), attention=(1,), head_channels=8).create()


def test_a_card_rebuilds_the_network():
    config = ADMConfig(**SMALL, patch=2)
    again = build(NETWORKS, describe(config), what="network")
    assert again == config and again.create().config == config


@pytest.mark.parametrize("side", [16, 64])
def test_bits_depend_neither_on_the_batch_nor_on_threads(side):
    """Feature maps of 64x64 places are those whose sums PyTorch splits among threads."""
    network = ADMConfig(channels=32, multipliers=(1, 2), blocks=1, attention=(2,), head_channels=16).create().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    x, time, threads = torch.randn(4, 6, side, side), torch.tensor([0.3]), torch.get_num_threads()
    results = []
    try:
        with torch.inference_mode():
            for number, sizes in ((1, (1, 3, 4)), (2, (1, 4)), (4, (4,))):
                torch.set_num_threads(number)
                results += [torch.cat([network(part, time) for part in x.split(size)]) for size in sizes]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("side", [8, 64])
def test_layers_agree_with_pytorch(side):
    x = (torch.randn(2, 64, side, side) + 0.5).contiguous(memory_format=torch.channels_last)
    for layer in (norm(64), Conv(64, 32)):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
        expected = layer(x)  # with derivatives: PyTorch's own
        with torch.inference_mode():
            assert torch.allclose(layer(x), expected, atol=1e-4)


def test_mixed_precision_is_normalised_in_float32():
    layer, x = norm(64), torch.randn(2, 64, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(x)
    assert made.dtype == torch.bfloat16 and torch.equal(made, layer(x.float()).bfloat16())
