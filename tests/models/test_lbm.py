"""LBM's public weights: the names and shapes of their files, and their import."""

import json

import pytest
import torch

pytest.importorskip("diffusers")

import diffusers
from safetensors.torch import save_file

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models import load_model
from ddbm_cli.models.directions import shapes_of
from ddbm_cli.models.importers import card_of, import_file
from ddbm_cli.registry import Entry, read_registry
from ddbm_cli.samplers import NoiseSource, finish
from tests.pipelines import VAE as TINY_VAE

# The arguments in LBM's code (inference/utils.py, and the autoencoder of SDXL), with those that are not defaults.
UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "only_cross_attention": False,
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "dropout": 0.0,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-05,
    "cross_attention_dim": [320, 640, 1280],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "time_embedding_type": "positional",
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
TINY = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [8, 16],
    "cross_attention_dim": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": [2, 4],
}


def file_of(unet, vae):
    """Return what LBM's model saves."""
    tensors = {f"denoiser.{name}": value for name, value in unet.state_dict().items()}
    tensors |= {f"vae.vae_model.{name}": value for name, value in vae.state_dict().items()}
    return tensors | {"num_iterations": torch.tensor(20000.0)}


@pytest.mark.parametrize("name", ["lbm-relighting", "lbm-normals", "lbm-depth"])
def test_the_registry_describes_the_files_of_the_code(name):
    entry = read_registry()[name]
    with torch.device("meta"):
        unet, vae = diffusers.UNet2DConditionModel(**UNET), diffusers.AutoencoderKL(**VAE)
    ours = {"denoiser.": "model.", "vae.vae_model.": "codec.vae."}
    wanted = {}
    for key, value in file_of(unet, vae).items():
        place = next((each for each in ours if key.startswith(each)), None)
        wanted |= {ours[place] + key.removeprefix(place): tuple(value.shape)} if place else {}
    card = card_of(entry)
    assert shapes_of(card) == wanted and entry.parameters == sum(each.numel() for each in unet.parameters())
    assert entry.licence == "CC-BY-NC-4.0" and not card.concat_source and card.defaults["sampler"]["name"] == "lbm"


@pytest.fixture
def tiny(tmp_path):
    """Return an entry of a small model, and its file."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(in_channels=4, out_channels=4, **TINY).eval()
    vae = diffusers.AutoencoderKL(**TINY_VAE).eval()
    save_file({name: value.contiguous() for name, value in file_of(unet, vae).items()}, tmp_path / "lbm.safetensors")
    card = dict(read_registry()["lbm-relighting"].card)
    config = json.loads(json.dumps(TINY_VAE))
    card["network"] = {"name": "diffusers", "in_channels": 4, "out_channels": 4, "config": TINY, "pixels": 2}
    card |= {"codec": {"name": "diffusers", "kind": "AutoencoderKL", "config": config}, "preprocess": {"size": 16}}
    entry = Entry(name="tiny", task="a -> b", repo="a/b", file="lbm.safetensors", importer="lbm", card=card)
    return entry, tmp_path / "lbm.safetensors", unet, vae


def test_one_evaluation_is_that_of_lbm(tiny, tmp_path):
    entry, file, unet, vae = tiny
    import_file(file, tmp_path / "m.safetensors", entry)
    model = load_model(tmp_path / "m.safetensors", device="cpu")
    source = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = finish(model.translate(source, NoiseSource(0, list("ab")), model.plan()))
    with torch.no_grad():
        scale = vae.config.scaling_factor
        z = vae.encode(source).latent_dist.mode() * scale
        v = unet(z, torch.tensor([1000.0]), None, return_dict=False)[0]
        wanted = vae.decode((z - v) / scale, return_dict=False)[0]
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_files_of_the_training_loop_and_others(tiny, tmp_path):
    entry, _, unet, vae = tiny
    wrapped = {f"model.{name}": value.contiguous() for name, value in file_of(unet, vae).items()}
    save_file(wrapped, tmp_path / "loop.safetensors")
    report = import_file(tmp_path / "loop.safetensors", tmp_path / "m.safetensors", entry)
    assert report.parameters == sum(each.numel() for each in unet.parameters())
    del wrapped["model.denoiser.conv_in.weight"]
    save_file(wrapped, tmp_path / "short.safetensors")
    with pytest.raises(ModelError, match="1 tensors are not those of LBM"):
        import_file(tmp_path / "short.safetensors", tmp_path / "n.safetensors", entry)
