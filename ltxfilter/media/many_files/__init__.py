"""Pictures, animations and segments: inputs and outputs of many files, and their formats."""
