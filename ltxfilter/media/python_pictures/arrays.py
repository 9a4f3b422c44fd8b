"""Pictures of arrays and tensors as frames, and output frames as such pictures."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made, Planes, PlaneShape, VideoInfo
from ltxfilter.media.python_pictures.kinds import PictureKind, kind_of
from ltxfilter.refusals import refusals_named

FLOAT_ONE = 65535  # the code that stands for 1 in pictures of floats


@dataclass(frozen=True, slots=True, eq=False)
class GivenPicture:
    """A picture as it was given, and a copy of its samples, in case its owner writes into it."""

    picture: Any
    kind: PictureKind
    copy: Any  # a numpy array or torch tensor

    @classmethod
    def of(cls, picture: Any) -> GivenPicture:
        """Copy a picture's samples."""
        kind = kind_of(picture)
        return cls(picture, kind, _copied(kind.samples(picture)))

    def unchanged(self) -> Any:
        """Return the picture itself, or one like it if it has changed since."""
        if _equal(self.kind.samples(self.picture), self.copy):
            return self.picture
        return self.kind.made(_copied(self.copy), self.picture)


def _copied(samples: Any) -> Any:
    return samples.copy() if isinstance(samples, np.ndarray) else samples.detach().clone()


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
    """Pictures whose samples are numpy arrays, or torch tensors, which stay on their device.

    Shapes are [H, W], [H, W, C] or [C, H, W] with C of 1, 3 (RGB) or 4 (RGBA); samples are uint8,
    uint16, or floats from 0 to 1, where NaN counts as 0. Frames hold copies, so that a caller may
    write into a picture after it was given.
    """

    def info(self, picture: Any, rate: Fraction | None) -> VideoInfo:
        """Describe a stream of pictures like this one. Raises InputError.

        rate: frames per second, if known.
        """
        samples = self._checked(picture)
        planes = self._planes(samples)
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
        samples = self._checked(picture)
        given = GivenPicture.of(picture)
        planes = self._planes(given.copy)
        expected = [((shape.height, shape.width), shape.dtype) for shape in info.layout]
        if [(plane.shape, plane.dtype) for plane in planes] != expected:
            raise InputError(
                f"a picture of shape {tuple(samples.shape)}, {samples.dtype} follows others of "
                f"{info.width}x{info.height}; all must be alike"
            )
        return Frame(time, planes, origin=given)

    def picture(self, frame: Frame, info: VideoInfo) -> Any:  # noqa: ARG002
        """Return a source picture itself, or an interpolated one of its kind.

        A source picture that was written into after it was given comes back as a copy.
        """
        if frame.made is not Made.INTERPOLATED:
            return frame.origin.unchanged()
        given: GivenPicture = frame.origin
        return given.kind.made(self._samples(frame.planes, given.copy), given.picture)

    def _samples(self, planes: Planes, like: Any) -> Any:
        """Return planes as an array or tensor of the shape and the dtype of `like`."""
        axis = _channel_axis(like)
        if not isinstance(like, np.ndarray):
            return _as_tensor(planes, axis, like)
        array = planes[0] if axis is None else np.stack(planes, axis)
        if like.dtype.kind == "f":
            array = (array / np.float32(FLOAT_ONE)).astype(np.float32)
        return array.astype(like.dtype, copy=False)

    def _checked(self, picture: Any) -> Any:
        """Return a picture's samples. Raises InputError for what is no picture."""
        samples = kind_of(picture).samples(picture)
        array = isinstance(samples, np.ndarray)
        if not array and (str(samples.layout) != "torch.strided" or samples.device.type == "meta"):
            raise InputError("a tensor that is sparse or without samples; use a dense one")
        _channel_axis(samples)
        if 0 in tuple(samples.shape):
            raise InputError(f"a picture of shape {tuple(samples.shape)} has no samples")
        return samples

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

    from ltxfilter.device_plane import DevicePlane, to_default_stream

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

    from ltxfilter.device_plane import load_codes

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
