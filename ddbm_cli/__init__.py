"""Image-to-image translation with diffusion bridges."""

__version__ = "0.1.0"
