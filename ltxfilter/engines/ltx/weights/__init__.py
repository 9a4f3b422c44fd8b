"""Model files: what they hold, and how their tensors become a model's weights."""
