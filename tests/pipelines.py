"""A Stable Diffusion pipeline in diffusers' layout, tiny and random."""

import json
import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
ENDS = "<|startoftext|>", "<|endoftext|>"


def write_pipeline(folder: Path, **schedule) -> Path:
    """Write one whose pictures are 16 pixels and whose latents are 8; return its folder."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    words = [*ENDS, *string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=1,
            max_position_embeddings=12,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    for name, part in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        part.save_pretrained(folder / name, safe_serialization=True)
    settings = {"model_max_length": 12, "tokenizer_class": "CLIPTokenizer", "pad_token": ENDS[1]}
    special = {"bos_token": ENDS[0], "eos_token": ENDS[1], "unk_token": ENDS[1], "pad_token": ENDS[1]}
    for name, body in {
        "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}),
        "scheduler/scheduler_config.json": json.dumps(SCHEDULER | schedule),
        "tokenizer/vocab.json": json.dumps({word: index for index, word in enumerate(words)}),
        "tokenizer/merges.txt": "#version: 0.2\n",
        "tokenizer/tokenizer_config.json": json.dumps(settings | special),
        "tokenizer/special_tokens_map.json": json.dumps(special),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body)
    return folder
