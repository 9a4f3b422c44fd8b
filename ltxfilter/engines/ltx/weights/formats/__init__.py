"""How model files are laid out: headers, names of tensors, shapes, and how weights are stored."""
