"""LTX-2's models: loading them, keeping them on a device, and running each of them."""
