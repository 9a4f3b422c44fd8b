"""The text encoder: Gemma 3 out of whatever file or folder it comes in, and what follows it."""
