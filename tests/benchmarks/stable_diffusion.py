"""Memory and time of bridges with Stable Diffusion 1.5's networks at their full size, with random weights, on the CPU.

    python -m tests.benchmarks.stable_diffusion [--threads N] [--size 512] [--steps 2] [FOLDER]

FOLDER gets the pipeline and its models (20 GB); without it a temporary folder is used and removed. Each measurement is
a process of its own, whose largest resident memory is printed: a command that translates one image, the autoencoder
alone with an image of twice the size, which it codes in tiles, and a command that trains one step with LoRA.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BRIDGE = "bridge.safetensors"

UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}


def write_pipeline(folder: Path) -> None:
    """Write the networks with random weights in half precision, and a tokenizer that knows letters alone."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests import pipelines

    pipelines.write_pipeline(folder)
    torch.manual_seed(0)
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    for name, part in (
        ("unet", UNet2DConditionModel(**UNET)),
        ("vae", AutoencoderKL(**VAE)),
        ("text_encoder", CLIPTextModel(text)),
    ):
        part.half().save_pretrained(folder / name)


def write_images(folder: Path, size: int) -> None:
    """Write two pairs of noise."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for side in "AB":
        (folder / side).mkdir(parents=True, exist_ok=True)
        for index in range(2):
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / side / f"{index}.png")


def write_bridge(folder: Path, size: int) -> None:
    """Write the model file of a bridge that begins with the pipeline, as a training would."""
    from dataclasses import replace

    from ddbm_cli.models import assemble, write_model
    from ddbm_cli.models.assemble import weights_of
    from ddbm_cli.models.codecs import load_codec
    from ddbm_cli.models.pipeline import as_bridge, card_of_pipeline
    from ddbm_cli.models.start_from import start_from

    card = card_of_pipeline(folder)
    bridge = replace(
        card,
        kind="bridge",
        concat_source=True,
        network={**card.network, "in_channels": 8},
        path={"name": "vp-bridge"},
        prediction=as_bridge(card),
        preprocess=replace(card.preprocess, size=size),
        defaults={**card.defaults, "start": {"name": "drawn"}},
    )
    denoiser = assemble(bridge)
    start_from(denoiser.network, folder)
    codec = load_codec(str(folder))[1]
    write_model(folder / BRIDGE, bridge, {name: value.half() for name, value in weights_of(denoiser, codec).items()})


def code(folder: Path, size: int) -> None:
    """Encode and decode one image, in tiles where it is large."""
    import torch

    from ddbm_cli.models.codecs import load_codec

    codec = load_codec(str(folder))[1]
    assert codec.decode(codec.encode(torch.rand(1, 3, size, size) * 2 - 1)).shape == (1, 3, size, size)


def measured(call: str, *, threads: int) -> tuple[float, float]:
    """Run Python code in a process of its own; return its largest resident memory in GB, and its seconds."""
    began = time.monotonic()
    words = f"import resource, torch; torch.set_num_threads({threads})\n{call}\n"
    words += "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{call}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return int(done.stdout.rsplit("PEAK", 1)[1]) * 1024 / 1e9, time.monotonic() - began


def ddbm(*words: object) -> str:
    """Return Python code that runs a command."""
    return (
        f"import sys; from ddbm_cli.cli.main import main; sys.argv = {['ddbm', *map(str, words)]!r}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


def own(name: str, *values: object) -> str:
    """Return Python code that calls a function of this module with a folder and values."""
    folder, *rest = values
    given = ", ".join([f"Path({str(folder)!r})", *map(repr, rest)])
    return f"from pathlib import Path; from tests.benchmarks import stable_diffusion as own; own.{name}({given})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2, help="sampling steps")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).absolute()
        if not (folder / BRIDGE).is_file():
            measured(own("write_pipeline", folder), threads=asked.threads)
            measured(own("write_bridge", folder, asked.size), threads=asked.threads)
        write_images(folder / "pairs", asked.size)
        image, model = folder / "pairs" / "A" / "0.png", folder / BRIDGE
        bridge = ("-m", model, "--steps", asked.steps, "--device", asked.device, "--overwrite", "--quiet")
        train = ("train", folder / "pairs", "--from", f"diffusers:{folder}", "--lora", "rank=8", "--size", asked.size)
        train += ("-b", 1, "--steps", 1, "--val-share", 0, "--device", asked.device)
        rows = {
            "one image, fp32": (8, ddbm("translate", image, folder / "1.png", *bridge, "--dtype", "fp32")),
            "one image, bf16": (8, ddbm("translate", image, folder / "2.png", *bridge, "--dtype", "bf16")),
            "codec alone, twice the size, in tiles": (8, own("code", folder, 2 * asked.size)),
            "step with LoRA": (12, ddbm(*train, "-o", folder / "run1")),
            "step with LoRA, recomputed": (12, ddbm(*train, "--checkpoint-activations", "-o", folder / "run2")),
        }
        for name, (limit, call) in rows.items():
            memory, seconds = measured(call, threads=asked.threads)
            print(f"{name:40} {memory:6.2f} GB (limit {limit})  {seconds:7.1f} s", flush=True)


if __name__ == "__main__":
    main()
