"""Codecs: shapes, exactness next to diffusers, locality, and models whose states are latents."""

import diffusers
import pytest
import torch

from ddbm_cli.codecs import CODECS, AutoencoderCodecConfig, DiffusersConfig, PixelsConfig
from ddbm_cli.codecs import diffusers as codecs
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build, describe
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.assemble import assemble_codec, weights_of
from ddbm_cli.models.importers import import_file
from ddbm_cli.models.selfcheck import self_check
from ddbm_cli.networks import NETWORKS
from ddbm_cli.options.coding import CODER
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.exchange import export_model
from tests.tiny import tiny_card, tiny_weights

SMALL = {"name": "autoencoder", "latent_channels": 4, "channels": 8, "multipliers": [1, 2], "blocks": 1, "patch": 2}
KL = {
    "block_out_channels": [8, 8, 8],
    "norm_num_groups": 4,
    "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "scaling_factor": 0.36,
    "shift_factor": 0.11,
    "sample_size": 16,
}
TINY = {
    "encoder_block_out_channels": [8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8],
    "num_encoder_blocks": [1, 1, 1],
    "num_decoder_blocks": [1, 1, 1],
    "latent_channels": 4,
}
DC = {
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    "encoder_block_out_channels": [8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8],
    "encoder_layers_per_block": [1, 1, 1],
    "decoder_layers_per_block": [1, 1, 1],
    "encoder_qkv_multiscales": [[], [], []],
    "decoder_qkv_multiscales": [[], [], []],
    "latent_channels": 4,
    "scaling_factor": 0.4,
}
THEIRS = {
    kind: {"name": "diffusers", "kind": kind, "config": config}
    for kind, config in {"AutoencoderKL": KL, "AutoencoderTiny": TINY, "AutoencoderDC": DC}.items()
}
ALL = {"autoencoder": SMALL, **THEIRS}


def images(count=2, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def latent_card(codec, size=32):
    network = {"name": "adm", "channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": [2]}
    network |= {"head_channels": 16, "in_channels": 8, "out_channels": 4}
    return tiny_card(codec=codec, network=network, preprocess={"size": size}, clip=False)


@pytest.mark.parametrize("codec", ALL.values(), ids=ALL)
def test_latents_have_the_stated_shape_and_do_not_depend_on_the_batch(codec):
    made = build(CODECS, codec, what="codec").create().eval()
    latents = made.encode(images())
    assert latents.shape == (2, made.channels, 32 // made.factor, 32 // made.factor) and made.factor == 4
    decoded = made.decode(latents)
    assert decoded.shape == (2, 3, 32, 32) and latents.dtype == decoded.dtype == torch.float32
    assert torch.equal(made.encode(images()[1:]), latents[1:]) and torch.equal(made.decode(latents[1:]), decoded[1:])


@pytest.mark.parametrize("kind", THEIRS)
def test_encode_and_decode_as_diffusers_does(kind):
    torch.manual_seed(0)
    config = THEIRS[kind]["config"]
    codec = DiffusersConfig(kind=kind, config=config).create().eval()
    theirs = getattr(diffusers, kind).from_config(config).eval()
    theirs.load_state_dict(codec.vae.state_dict())
    scale, shift = config.get("scaling_factor", 1.0), config.get("shift_factor", 0.0)
    for image in images().split(1):
        with torch.no_grad():
            encoded = theirs.encode(image)
            mean = encoded.latent_dist.mode() if kind == "AutoencoderKL" else encoded[0]
            wanted = (mean - shift) * scale
            back = theirs.decode(wanted / scale + shift)[0]
        assert (codec.encode(image) - wanted).abs().max() < 1e-6 and (codec.decode(wanted) - back).abs().max() < 1e-6


@pytest.mark.parametrize("kind", THEIRS)
def test_large_images_are_coded_in_tiles_as_diffusers_does(kind, monkeypatch):
    monkeypatch.setattr(codecs, "LARGEST_WHOLE", 64)
    torch.manual_seed(0)
    config = THEIRS[kind]["config"]
    codec = DiffusersConfig(kind=kind, config=config).create().eval()
    theirs = getattr(diffusers, kind).from_config(config).eval()
    theirs.load_state_dict(codec.vae.state_dict())
    if kind == "AutoencoderDC":
        theirs.enable_tiling(64, 64, 56, 56)
    else:
        theirs.enable_tiling()
        theirs.tile_sample_min_size, theirs.tile_latent_min_size = 64, 64 // codec.factor
        theirs.spatial_scale_factor = codec.factor
    image, (scale, shift) = images(1, 128)[..., :96, :], codec.scaling
    with torch.no_grad():
        encoded = theirs.encode(image)
        wanted = ((encoded.latent_dist.mode() if kind == "AutoencoderKL" else encoded[0]) - shift) * scale
        back = theirs.decode(wanted / scale + shift)[0]
        theirs.use_tiling = False
        whole = theirs.decode(wanted / scale + shift)[0]
    assert (codec.encode(image) - wanted).abs().max() < 1e-6 and (codec.decode(wanted) - back).abs().max() < 1e-6
    assert (whole - back).abs().max() > 1e-4
    codec.encode(images(1))
    assert not codec.vae.use_tiling  # which are small


def test_an_autoencoder_is_not_computed_in_float16(tmp_path):
    """As diffusers' force_upcast: the values inside a decoder are too large for it."""
    card = latent_card(THEIRS["AutoencoderKL"])
    write_model(tmp_path / "m.safetensors", card, tiny_weights(card))
    for dtype, of_codec in (("fp16", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        model = load_model(tmp_path / "m.safetensors", device="cpu", dtype=dtype)
        assert next(model.codec.parameters()).dtype == of_codec
    model = load_model(tmp_path / "m.safetensors", device="cpu", dtype="fp16")
    large = model.codec.vae.decoder.conv_in
    large.weight.data *= 1e7  # beyond float16's range
    assert model.codec.decode(torch.ones(1, 4, 8, 8)).isfinite().all()


def test_pixels_are_their_own_latents():
    codec = PixelsConfig().create()
    assert codec.encode(images()) is not None and torch.equal(codec.decode(codec.encode(images())), images())


@pytest.mark.parametrize("changes", [{}, {"multipliers": [1], "blocks": 2}, {"multipliers": [1], "pointwise": True}])
def test_large_images_are_coded_in_tiles_as_the_whole(monkeypatch, changes):
    codec = build(CODECS, SMALL | changes, what="codec").create()
    for parameter in codec.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    x = images(1, 128)[..., :72]
    whole = codec.encode(x)
    picture = codec.decode(whole)
    seen = []
    monkeypatch.setattr("ddbm_cli.codecs.autoencoder.LARGEST_WHOLE", 32)
    monkeypatch.setattr(codec.encoder, "forward", lambda x, own=codec.encoder.forward: seen.append(x.shape) or own(x))
    assert torch.allclose(codec.encode(x), whole, atol=1e-5) and len(seen) == 12
    assert torch.allclose(codec.decode(whole), picture, atol=1e-5)


def test_the_network_whose_files_are_codecs_is_named():
    assert {CODER} == {name for name in CODECS if issubclass(CODECS[name], NETWORKS.get(name, ()))}


def test_calibrated_latents_have_the_spread_of_images():
    codec = AutoencoderCodecConfig(latent_channels=4, channels=8, multipliers=(1, 2), blocks=1).create()
    with torch.no_grad():
        raw = codec.raw(images(8))
    before = codec.decode(codec.encode(images()))
    codec.calibrate(raw.mean((0, 2, 3)), raw.std((0, 2, 3)))
    latents = codec.encode(images(8))
    assert latents.mean((0, 2, 3)).abs().max() < 1e-4
    assert (latents.std((0, 2, 3)) - 0.5).abs().max() < 1e-4
    assert torch.allclose(codec.decode(codec.encode(images())), before, atol=1e-4)


def test_a_far_pixel_changes_nothing():
    """No normalisation: what is farther away than the receptive field has no effect, so tiles are exact."""
    codec = AutoencoderCodecConfig(latent_channels=4, channels=8, multipliers=(1, 2), blocks=1).create()
    for parameter in codec.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    wide = images(1, 128)
    other = wide.clone()
    other[..., 96:] = 0
    changed = (codec.encode(wide) != codec.encode(other)).flatten(0, 2).any(0).nonzero().flatten()
    assert changed.min() > 96 / 4 - 8


@pytest.mark.parametrize("codec", ALL.values(), ids=ALL)
def test_a_model_of_latents_is_one_file(tmp_path, codec):
    card = latent_card(codec)
    weights = tiny_weights(card)
    assert any(name.startswith("codec.") for name in weights)
    write_model(tmp_path / "m.safetensors", card, weights)
    model = load_model(tmp_path / "m.safetensors")
    plan = model.plan()
    result = finish(model.translate(images(), NoiseSource(0, list("ab")), plan))
    alone = finish(model.translate(images()[1:], NoiseSource(0, ["b"]), plan))
    assert result.shape == (2, 3, 32, 32) and torch.allclose(alone, result[1:], atol=1e-4)
    if codec is SMALL:
        assert torch.equal(alone, result[1:])
    assert self_check(model).figures


@pytest.mark.parametrize("codec", ALL.values(), ids=ALL)
def test_export_to_a_folder_and_back(tmp_path, codec):
    card = latent_card(codec)
    first = tmp_path / "a.safetensors"
    write_model(first, card, tiny_weights(card))
    finish(export_model(str(first), tmp_path / "folder", layout="diffusers"))
    if codec in THEIRS.values():
        own = getattr(diffusers, codec["kind"]).from_pretrained(tmp_path / "folder" / "vae")
        assert sum(each.numel() for each in own.parameters()) > 0
    loaded, model = load_model(tmp_path / "folder"), load_model(first)
    noise = NoiseSource(0, list("ab")), NoiseSource(0, list("ab"))
    both = [
        finish(each.translate(images(), own, each.plan())) for each, own in zip((model, loaded), noise, strict=True)
    ]
    assert torch.equal(*both)
    import_file(tmp_path / "folder", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == first.read_bytes()


def test_what_a_mask_keeps_is_kept_to_the_bit(tmp_path):
    card = latent_card(SMALL)
    write_model(tmp_path / "m.safetensors", card, tiny_weights(card))
    model = load_model(tmp_path / "m.safetensors")
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 3:9] = 1
    result = finish(model.translate(images(), NoiseSource(0, list("ab")), model.plan(), mask=mask))
    assert torch.equal(result[..., 9:], images()[..., 9:]) and not torch.equal(result, images())


def test_targets_are_encoded_as_noise(tmp_path):
    """The noise has the shape of the latents, and sampling from it leads back to the coded target."""
    card = latent_card(SMALL)
    write_model(tmp_path / "m.safetensors", card, tiny_weights(card))
    model = load_model(tmp_path / "m.safetensors")
    noise = finish(model.encode(images(), images(), model.plan()))
    assert noise.shape == (2, 4, 8, 8)


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ({"name": "wavelets"}, "unknown codec"),
        (SMALL | {"latent_channels": 5}, "latents have 5"),
        (SMALL | {"blocks": 16, "multipliers": [1] * 6}, "at most 64"),
        (SMALL | {"multipliers": [1] * 6}, "multiple of"),
        (SMALL | {"channels": 16}, "do not fit its card"),
        (THEIRS["AutoencoderKL"] | {"kind": "AutoencoderVAE"}, "codec"),
        (THEIRS["AutoencoderKL"] | {"config": KL | {"layers_per_block": 10**6}}, "more than 128 layers"),
        (THEIRS["AutoencoderKL"] | {"config": KL | {"norm_num_groups": "x"}}, "cannot be built"),
        (THEIRS["AutoencoderKL"] | {"config": KL | {"latent_channels": 10**6}}, "latents have"),
        (THEIRS["AutoencoderKL"] | {"config": {"block_out_channels": None}}, "cannot be built"),
    ],
)
def test_wrong_codecs_are_refused_before_memory_is_taken(tmp_path, codec, words):
    good = latent_card(THEIRS["AutoencoderKL"] if codec["name"] == "diffusers" else SMALL)
    write_model(tmp_path / "m.safetensors", latent_card(codec), tiny_weights(good))
    with pytest.raises((ModelError, UsageError), match=words):
        load_model(tmp_path / "m.safetensors")


def test_settings_have_all_three_forms():
    made = build(CODECS, "autoencoder:latent_channels=8,multipliers=1-2", what="codec")
    assert build(CODECS, describe(made), what="codec") == made
    assert weights_of.__doc__ and assemble_codec(latent_card(SMALL)).channels == 4
