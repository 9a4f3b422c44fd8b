"""The first run on a GPU: every check once, in ten minutes, with one page as its outcome."""
