"""Frames of PyAV in a GPU's memory: their planes without a way through the host, and new frames.

A decoder hands them out where it is told `HWAccel("cuda", is_hw_owned=True)`; NVENC takes them.
PyAV shares samples by DLPack, in the formats of `SHIFTS`. FFmpeg works on CUDA's default stream, as
engines do, and in the device's primary context, which is torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av

from ltxfilter.errors import InputError
from ltxfilter.frame import Planes, PlaneShape, VideoInfo
from ltxfilter.media.pyav_compat import cuda_context

CUDA = "cuda"  # FFmpeg's name of the pixel format of such frames
DL_CUDA = 2  # DLPack's number of CUDA
SHIFTS = {"nv12": 0, "p010le": 6, "p016le": 0}  # bits below a sample's own


def lies_there(picture: av.VideoFrame) -> bool:
    """Return True if a frame's samples are in the memory of a CUDA device."""
    return picture.format.name == CUDA


def samples_format(picture: av.VideoFrame) -> str:
    """Return FFmpeg's name of the format of a frame's samples, wherever they are.

    Raises InputError for samples on a device that PyAV does not share.
    """
    if picture.format.components:
        return str(picture.format.name)
    inner = picture.sw_format.name if picture.sw_format else "?"
    if picture.format.name != CUDA or inner not in SHIFTS:
        raise InputError(
            f"a frame in the memory of {picture.format.name}, of {inner}; PyAV shares CUDA's "
            f"{', '.join(SHIFTS)}: decode with HWAccel(..., is_hw_owned=False)"
        )
    return str(inner)


def planes_of(picture: av.VideoFrame, name: str, layout: Sequence[PlaneShape]) -> Planes:
    """Return copies of a frame's samples on its device, one `DevicePlane` for each plane.

    name: `samples_format` of it. layout: of the planar format of the same samples. Raises
    InputError for a size that is not even.
    """
    import torch
    from torch.utils.dlpack import from_dlpack

    from ltxfilter.device_plane import DevicePlane, to_default_stream

    # Capsules, for PyAV refuses the stream that torch asks for where it is given a plane itself.
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in picture.planes)
    planes: list[Any] = []
    for codes, shape in zip((luma, chroma[..., 0], chroma[..., 1]), layout, strict=True):
        if tuple(codes.shape) != (shape.height, shape.width):
            raise InputError(
                f"a frame of {picture.width}x{picture.height} on a device; its sides must be even"
            )
        if shape.depth > 8:
            codes = (codes.view(torch.int16).to(torch.int32) & 0xFFFF) >> SHIFTS[name]
        else:
            codes = codes.clone()
        planes.append(DevicePlane(to_default_stream(codes)))
    return tuple(planes)


class CudaFrameMaker:
    """Makes frames on a device; they have the tags of their stream, and no side data."""

    def __init__(self) -> None:
        # By the device's number: frames of one context are what an encoder takes.
        self._contexts: dict[int, Any] = {}

    def made(
        self, planes: Planes, info: VideoInfo, name: str, like: av.VideoFrame
    ) -> av.VideoFrame:
        """Return a frame of format `name` that shows `planes`, on the device of `like`."""
        import torch

        from ltxfilter.device_plane import load_codes, to_default_stream

        kind, number = like.planes[0].__dlpack_device__()
        place = torch.device("cuda", number) if kind == DL_CUDA else torch.device("cpu")
        deep = info.depth > 8
        # One piece of memory: NVENC looks for chroma right below luma.
        rows = torch.empty(
            (info.height * 3 // 2, info.width),
            dtype=torch.int16 if deep else torch.uint8,
            device=place,
        )
        luma, below = rows[: info.height], rows[info.height :]
        chroma = below.view(info.height // 2, info.width // 2, 2)
        for target, plane in zip((luma, chroma[..., 0], chroma[..., 1]), planes, strict=True):
            codes = load_codes(plane, place)
            target.copy_(codes << SHIFTS[name] if deep else codes)
        rows = to_default_stream(rows)
        if deep:
            luma, below = luma.view(torch.uint16), below.view(torch.uint16)
        if kind == DL_CUDA:
            with torch.cuda.device(place):  # whose context PyAV takes for its own
                context = self._contexts.setdefault(number, cuda_context(number))
                frame = av.VideoFrame.from_dlpack((luma, below), name, cuda_context=context)
        else:
            frame = av.VideoFrame.from_dlpack((luma, below), name)
        frame.colorspace, frame.color_range = info.color.matrix, info.color.range
        frame.color_primaries, frame.color_trc = info.color.primaries, info.color.transfer
        return frame
