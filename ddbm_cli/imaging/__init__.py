"""Images: finding, opening, preparing and saving them; nothing here depends on diffusion."""
