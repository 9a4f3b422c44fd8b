"""Other programs as hosts: each module is one, and imports its host inside functions."""
