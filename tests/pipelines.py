"""Text-to-image pipelines in diffusers' layout, tiny and random."""

import json
import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
PARTS = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
}
ENDS = "<|startoftext|>", "<|endoftext|>"


WORDS = [*ENDS, *string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
VAE = {
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
}


def write_pipeline(folder: Path, **schedule) -> Path:
    """Write one in the layout of Stable Diffusion 1 and 2, with images of 16 pixels and latents of 8."""
    torch.manual_seed(0)
    UNet2DConditionModel(**UNET).save_pretrained(folder / "unet")
    CLIPTextModel(_text()).save_pretrained(folder / "text_encoder")
    write_words(folder / "tokenizer")
    return _write_rest(folder, {"_class_name": "StableDiffusionPipeline", **PARTS}, SCHEDULER | schedule)


def write_instruct(folder: Path, **schedule) -> Path:
    """Write one in the layout of InstructPix2Pix: a U-Net that takes the latents of two images."""
    torch.manual_seed(0)
    UNet2DConditionModel(**UNET | {"in_channels": 8}).save_pretrained(folder / "unet")
    CLIPTextModel(_text()).save_pretrained(folder / "text_encoder")
    write_words(folder / "tokenizer")
    kind = "EulerAncestralDiscreteScheduler"
    parts = PARTS | {"scheduler": ["diffusers", kind], "feature_extractor": [None, None]}
    index = {"_class_name": "StableDiffusionInstructPix2PixPipeline", **parts, "image_encoder": [None, None]}
    return _write_rest(folder, index, SCHEDULER | {"_class_name": kind, "timestep_spacing": "linspace"} | schedule)


def write_xl(folder: Path) -> Path:
    """Write one in the layout of SDXL: two text encoders, and an embedding of the whole text."""
    torch.manual_seed(0)
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    total = {"projection_class_embeddings_input_dim": 12 + 6 * 8, "cross_attention_dim": 32}
    UNet2DConditionModel(**UNET | added | total).save_pretrained(folder / "unet")
    CLIPTextModel(_text(layers=2)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(_text(layers=2, projection_dim=12)).save_pretrained(folder / "text_encoder_2")
    for name in ("tokenizer", "tokenizer_2"):
        write_words(folder / name)
    more = {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
    more |= {"tokenizer_2": ["transformers", "CLIPTokenizer"], "force_zeros_for_empty_prompt": True}
    return _write_rest(folder, {"_class_name": "StableDiffusionXLPipeline", **PARTS, **more}, SCHEDULER)


def write_dit(folder: Path) -> Path:
    """Write one in the layout of DiT: a transformer with 10 classes, and no text."""
    torch.manual_seed(0)
    settings = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "num_embeds_ada_norm": 10}
    network = DiTTransformer2DModel(**settings, in_channels=4, out_channels=8, sample_size=8, patch_size=2)
    network.save_pretrained(folder / "transformer")
    parts = {
        "transformer": ["diffusers", "DiTTransformer2DModel"],
        "vae": PARTS["vae"],
        "scheduler": PARTS["scheduler"],
    }
    linear = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02, "prediction_type": "epsilon"}
    return _write_rest(folder, {"_class_name": "DiTPipeline", **parts}, SCHEDULER | linear)


def write_clip(folder: Path) -> Path:
    """Write CLIP, with images of 28 pixels."""
    torch.manual_seed(0)
    sights = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sights |= {"image_size": 28, "patch_size": 14, "projection_dim": 8}
    config = CLIPConfig(text_config=_text(projection_dim=8).to_dict(), vision_config=sights, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    write_words(folder)
    return folder


def write_t5(folder: Path) -> Path:
    """Write T5's encoder, whose tokens are letters."""
    torch.manual_seed(0)
    words = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase]
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=len(words), **sizes)).save_pretrained(folder)
    tokenizer = Tokenizer(models.Unigram([(word, -float(place)) for place, word in enumerate(words)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 0}
    settings = {"tokenizer_class": "T5Tokenizer", **special}
    return _write(folder, {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": json.dumps(settings)})


def _text(*, layers: int = 1, **more) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=layers,
        max_position_embeddings=20,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **more,
    )


def write_words(folder: Path) -> None:
    settings = {"model_max_length": 20, "tokenizer_class": "CLIPTokenizer", "pad_token": ENDS[1]}
    special = {"bos_token": ENDS[0], "eos_token": ENDS[1], "unk_token": ENDS[1], "pad_token": ENDS[1]}
    _write(
        folder,
        {
            "vocab.json": json.dumps({word: index for index, word in enumerate(WORDS)}),
            "merges.txt": "#version: 0.2\n",
            "tokenizer_config.json": json.dumps(settings | special),
            "special_tokens_map.json": json.dumps(special),
        },
    )


def _write_rest(folder: Path, index: dict, schedule: dict) -> Path:
    AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    texts = {"model_index.json": json.dumps(index), "scheduler/scheduler_config.json": json.dumps(schedule)}
    return _write(folder, texts)


def _write(folder: Path, texts: dict[str, str]) -> Path:
    for name, body in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body)
    return folder
