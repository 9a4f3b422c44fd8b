"""The learned fusion on the device: the steps of `motion.fusion`, with the same samples."""
