"""CUDA graphs: captured one at a time, replayed on fixed buffers."""
