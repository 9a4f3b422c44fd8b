"""From keyframes to interpolated pictures by diffusion: grids, tokens, sampling."""
