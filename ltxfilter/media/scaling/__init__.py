"""Output frames made larger after interpolation, for `--scale`.

`FrameScaler` does it, frame by frame; `ScaledSource` is what a sink is told of the frames.
"""
