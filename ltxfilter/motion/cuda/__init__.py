"""The steps of `motion` on a CUDA device, in Triton; the same samples as on the CPU."""
