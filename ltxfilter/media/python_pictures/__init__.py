"""Pictures of other libraries as frames, and output frames as such pictures."""
