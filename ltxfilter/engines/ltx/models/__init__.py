"""LTX-2's models, resident on a device, and how each of them runs."""
