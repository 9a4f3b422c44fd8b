"""RIFE v3 in its own torch code: doubles a clip's rate, or writes the network as ONNX.

python -m benchmarks.peers.rife_program SOURCE IN.y4m OUT.y4m
python -m benchmarks.peers.rife_program SOURCE OUT.onnx

SOURCE is the folder that `benchmarks.rife` names too. Weights are fp32. RGB is made of the frames
and turned back without rounding in between, which RIFE's own programs do to 8 bits.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.clips import load, write_y4m
from benchmarks.rife import by_torch, export, version_3
from ltxfilter.color import Converter

ALL = 1_000_000  # frames


def double(source: Path, given: Path, made: Path) -> None:
    """Write the frames of a clip and those that the network makes between them."""
    network = version_3(source)
    clip = load(given, ALL)
    converter = Converter(clip.info)
    frames = clip.frames[:1]
    for left, right in pairwise(clip.frames):
        pictures = [converter.to_rgb(planes) for planes in (left, right)]
        frames += [converter.to_planes(by_torch(network, pictures, None)), right]
    write_y4m(made, frames, clip.info, Fraction(50))


def main() -> None:
    """Double or export."""
    source, *paths = map(Path, sys.argv[1:])
    sys.path.insert(0, str(source))
    if len(paths) == 1:
        pair = {name: torch.rand(1, 3, 96, 128) for name in ("img0", "img1")}
        export(version_3(source), paths[0], pair)
    else:
        double(source, *paths)


if __name__ == "__main__":
    main()
