"""Segments of an output: stored apart from each other as they are encoded, and joined in order."""
