"""The U-Net of latent diffusion (arXiv:2112.10752), conditioned on a text: F(latents, time)."""

from torch import Tensor, nn


class TextUNet(nn.Module):
    """F(x, time) of latents x (B, C, h, w), with classifier-free guidance (arXiv:2207.12598) by a text.

    Args:
        unet: diffusers' UNet2DConditionModel.
        context: (1, tokens, width), the embedding of the text; or (2, tokens, width), those of no text and of the text.
        scale: of the guidance, for two embeddings: F = F(no text) + scale (F(text) - F(no text)), in one batch.
    """

    context: Tensor

    def __init__(self, unet: nn.Module, context: Tensor, *, scale: float = 1.0) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("context", context, persistent=False)
        self.scale = scale

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return F, as x; `time` is (B,), or (1,) for the whole batch."""
        kinds = len(self.context)
        context = self.context.to(x).repeat_interleave(len(x), dim=0)
        time = time.expand(len(x)).repeat(kinds)
        output: Tensor = self.unet(x.repeat(kinds, 1, 1, 1), time, context, return_dict=False)[0]
        if kinds == 1:
            return output
        without, with_text = output.chunk(2)
        return without + self.scale * (with_text - without)
