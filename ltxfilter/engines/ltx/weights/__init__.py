"""Model files: what one holds, and how its tensors get into a model."""
