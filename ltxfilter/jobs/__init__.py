"""Long jobs: a video made in segments, by several processes or machines, that survives a crash.

`driver.py` is one job in code; read it first.
"""
