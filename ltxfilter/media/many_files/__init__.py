"""Inputs and outputs of many files: numbered pictures, segments with their playlists."""
