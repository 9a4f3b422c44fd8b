"""Interpolation by diffusion: which latents to denoise, from noise to pictures."""
