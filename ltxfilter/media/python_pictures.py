"""Pictures of other libraries as frames, and output frames as such pictures: PyAV, numpy, torch."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made, Planes, PlaneShape, VideoInfo
from ltxfilter.media.avframe import FrameCopier, color_of, reshape, view
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.media.pyav_compat import time_base_of
from ltxfilter.refusals import refusals_named

FLOAT_ONE = 65535  # the code that stands for 1 in pictures of floats


class FramePictures:
    """Pictures as `av.VideoFrame`s of any format that has a planar twin."""

    def __init__(self) -> None:
        self._copier = FrameCopier()
        self._format = ""  # of the pictures that are pushed, by FFmpeg's name
        self._planar = ""  # the planar format of the same samples

    def info(self, picture: Any, rate: Fraction | None) -> VideoInfo:
        """Describe a stream that begins with `picture`.

        rate: frames per second; None goes by the picture's duration. Raises InputError for a format
        that cannot be held, and for what is no `av.VideoFrame`.
        """
        _check_video_frame(picture)
        self._format = picture.format.name
        self._planar = planar_name(self._format)
        if rate is None and (picture.duration or 0) > 0 and picture.time_base:
            rate = 1 / (picture.duration * time_base_of(picture))
        return VideoInfo(
            width=picture.width,
            height=picture.height,
            pix_fmt=self._planar,
            layout=plane_shapes(self._planar, picture.width, picture.height),
            rate=rate,
            interval=1 / rate if rate else None,
            color=color_of(picture),
        )

    def time_of(self, picture: Any) -> Fraction | None:
        """Return the seconds at which `picture` is shown; None if it does not say.

        Raises InputError for what is no `av.VideoFrame`.
        """
        _check_video_frame(picture)
        if picture.pts is None or not picture.time_base:
            return None
        return Fraction(picture.pts * time_base_of(picture))

    def frame(self, picture: Any, time: Fraction, info: VideoInfo) -> Frame:
        """Return `picture` as a frame shown at `time`, seconds.

        Raises InputError if it is unlike the first one.
        """
        _check_video_frame(picture)
        shape = picture.width, picture.height, picture.format.name
        if shape != (info.width, info.height, self._format):
            raise InputError(
                f"a frame of {shape[0]}x{shape[1]} {shape[2]} follows others of "
                f"{info.width}x{info.height} {self._format}; all must be alike"
            )
        return Frame(
            time=time,
            planes=view(self._as_planar(picture), info.layout),
            origin=picture,
            duration=picture.duration * time_base_of(picture) if picture.duration else None,
            corrupt=bool(picture.is_corrupt),
        )

    def picture(self, frame: Frame, info: VideoInfo) -> Any:
        """Return an output frame as a new `av.VideoFrame`; a source frame shares its samples."""
        if frame.made is not Made.INTERPOLATED:
            return self._copier.share(frame.origin)
        decoded = self._as_planar(frame.origin)
        made = self._copier.with_planes(decoded, frame.planes, info.layout)
        if decoded is frame.origin:
            return made
        return reshape(made, info.width, info.height, self._format)

    def stamped_picture(
        self, frame: Frame, info: VideoInfo, number: int, rate: Fraction | None
    ) -> Any:
        """Return an output frame as a new `av.VideoFrame` with its pts and time base set.

        number: of the output frame, from 0. rate: frames per second; pts counts in 1 / rate then.
        None keeps the frame's own time, in half ticks of the source.
        """
        picture = self.picture(frame, info)
        if rate is not None:
            picture.pts, picture.time_base = number, 1 / rate
            return picture
        time_base = time_base_of(frame.origin) / 2
        picture.pts, picture.time_base = round(frame.time / time_base), time_base
        return picture

    def _as_planar(self, picture: Any) -> Any:
        """Return `picture` itself where its samples are planar; "yuvj" only names a range."""
        if self._format == self._planar or self._format.startswith("yuvj"):
            return picture
        return reshape(picture, picture.width, picture.height, self._planar)


def _check_video_frame(picture: Any) -> None:
    """Refuse what is no `av.VideoFrame`, or an empty one. Raises InputError."""
    if not isinstance(picture, av.VideoFrame):
        raise InputError(f"{type(picture).__name__} is no av.VideoFrame; arrays go to interpolate")
    if not picture.width or not picture.height:
        raise InputError(f"a frame of {picture.width}x{picture.height} has no samples")


@dataclass(frozen=True, slots=True, eq=False)
class GivenPicture:
    """An array or tensor as it was given, and a copy, in case its owner writes into it."""

    picture: Any
    copy: Any

    @classmethod
    def of(cls, picture: Any) -> GivenPicture:
        """Copy a picture."""
        if isinstance(picture, np.ndarray):
            return cls(picture, picture.copy())
        return cls(picture, picture.detach().clone())

    def unchanged(self) -> Any:
        """Return the picture itself, or the copy if the picture has changed since."""
        same = _equal(self.picture, self.copy)
        return self.picture if same else GivenPicture.of(self.copy).copy


def _equal(a: Any, b: Any) -> bool:
    """Return True if two arrays, or two tensors, have the same samples; NaN equals NaN."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    import torch

    given = a.detach()
    if a.is_floating_point():
        return bool(torch.allclose(given, b, rtol=0, atol=0, equal_nan=True))
    return bool(torch.equal(given, b))


class ArrayPictures:
    """Pictures as numpy arrays, or as torch tensors, which stay on their device.

    Shapes are [H, W], [H, W, C] or [C, H, W] with C of 1, 3 (RGB) or 4 (RGBA); samples are uint8,
    uint16, or floats from 0 to 1, where NaN counts as 0. Frames hold copies, so that a caller may
    write into a picture after it was given.
    """

    def info(self, picture: Any, rate: Fraction | None) -> VideoInfo:
        """Describe a stream of pictures like this one. Raises InputError.

        rate: frames per second, if known.
        """
        self._check(picture)
        planes = self._planes(picture)
        depth = 8 if planes[0].dtype == np.uint8 else 16
        roles = {1: "y", 3: "rgb", 4: "rgba"}[len(planes)]
        height, width = planes[0].shape
        layout = tuple(PlaneShape(role, width, height, 0, 0, depth) for role in roles)
        interval = 1 / rate if rate else None
        return VideoInfo(width, height, f"{roles}{depth}", layout, rate, interval)

    @refusals_named()
    def frame(self, picture: Any, time: Fraction, info: VideoInfo) -> Frame:
        """Return `picture` as a frame shown at `time`, seconds.

        Raises InputError if it is unlike the first one.
        """
        self._check(picture)
        given = GivenPicture.of(picture)
        planes = self._planes(given.copy)
        expected = [((shape.height, shape.width), shape.dtype) for shape in info.layout]
        if [(plane.shape, plane.dtype) for plane in planes] != expected:
            raise InputError(
                f"a picture of shape {tuple(picture.shape)}, {picture.dtype} follows others of "
                f"{info.width}x{info.height}; all must be alike"
            )
        return Frame(time, planes, origin=given)

    def picture(self, frame: Frame, info: VideoInfo) -> Any:  # noqa: ARG002
        """Return a source picture itself, or an interpolated one of its kind.

        A source picture that was written into after it was given comes back as a copy.
        """
        if frame.made is not Made.INTERPOLATED:
            return frame.origin.unchanged()
        like = frame.origin.copy
        axis = _channel_axis(like)
        if not isinstance(like, np.ndarray):
            return _as_tensor(frame.planes, axis, like)
        array = frame.planes[0] if axis is None else np.stack(frame.planes, axis)
        if like.dtype.kind == "f":
            array = (array / np.float32(FLOAT_ONE)).astype(np.float32)
        return array.astype(like.dtype, copy=False)

    def _check(self, picture: Any) -> None:
        """Refuse what is no picture. Raises InputError."""
        array = isinstance(picture, np.ndarray)
        if not array and not (hasattr(picture, "detach") and hasattr(picture, "device")):
            raise InputError(
                f"{type(picture).__name__} is neither a numpy array nor a torch tensor"
            )
        if not array and (str(picture.layout) != "torch.strided" or picture.device.type == "meta"):
            raise InputError("a tensor that is sparse or without samples; use a dense one")
        _channel_axis(picture)
        if 0 in tuple(picture.shape):
            raise InputError(f"a picture of shape {tuple(picture.shape)} has no samples")

    def _planes(self, picture: Any) -> Planes:
        """Return the channels as [H, W] planes of uint8 or uint16.

        Raises InputError for what is no picture.
        """
        if not isinstance(picture, np.ndarray):
            planes: Planes = _tensor_planes(picture)
            return planes
        axis, array = _channel_axis(picture), picture
        if array.dtype.kind == "f":
            array = np.nan_to_num(np.clip(array, 0, 1), copy=False)
            array = np.rint(array * np.float32(FLOAT_ONE)).astype(np.uint16)
        if array.dtype not in (np.uint8, np.uint16):
            raise InputError(f"pictures of {array.dtype}; use uint8, uint16 or floats from 0 to 1")
        if axis is None:
            return (np.ascontiguousarray(array),)
        return tuple(np.ascontiguousarray(channel) for channel in np.moveaxis(array, axis, 0))


def _tensor_planes(picture: Any) -> Any:
    """Return the channels of a torch tensor as planes on its device. Raises InputError."""
    import torch

    from ltxfilter.color import DevicePlane, to_default_stream

    codes = picture.detach()
    if codes.is_floating_point():
        codes = (codes.float().clamp(0, 1).nan_to_num() * FLOAT_ONE).round().to(torch.int32)
    elif codes.dtype == torch.uint16:
        codes = codes.to(torch.int32)
    elif codes.dtype != torch.uint8:
        raise InputError(f"pictures of {codes.dtype}; use uint8, uint16 or floats from 0 to 1")
    axis = _channel_axis(picture)
    codes = to_default_stream(codes)
    channels: Any = (codes,) if axis is None else codes.unbind(axis)
    return tuple(map(DevicePlane, channels))


def _as_tensor(planes: Planes, axis: int | None, like: Any) -> Any:
    """Return planes as a tensor with the dtype of `like`, on its device.

    axis: where the channels go; None for a single plane.
    """
    import torch

    from ltxfilter.color import load_codes

    channels = [load_codes(plane, like.device) for plane in planes]
    codes = channels[0] if axis is None else torch.stack(channels, axis)
    tensor: Any = codes / FLOAT_ONE if like.is_floating_point() else codes
    return tensor.to(like.dtype)


def _channel_axis(picture: Any) -> int | None:
    """Return which axis has the channels; None for a single plane. Raises InputError."""
    shape = tuple(picture.shape)
    if len(shape) == 2:
        return None
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return 2
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return 0
    raise InputError(f"a picture of shape {shape}; use [H, W], [H, W, C] or [C, H, W]")
