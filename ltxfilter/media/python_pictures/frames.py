"""Frames of PyAV as frames of ours, and output frames as frames of PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made, Planes, VideoInfo
from ltxfilter.media.avframe import FrameCopier, color_of, reshape, view
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.media.pyav_compat import time_base_of
from ltxfilter.media.python_pictures import cuda_frames


class FramePictures:
    """Pictures as `av.VideoFrame`s of any format that has a planar twin.

    Those in a GPU's memory stay there; see `cuda_frames`.
    """

    def __init__(self) -> None:
        self._copier = FrameCopier()
        self._maker = cuda_frames.CudaFrameMaker()
        self._first = ""  # size and format of the pictures that are pushed
        self._format = ""  # of their samples, by FFmpeg's name
        self._planar = ""  # the planar format of the same samples

    def info(self, picture: Any, rate: Fraction | None) -> VideoInfo:
        """Describe a stream that begins with `picture`.

        rate: frames per second; None goes by the picture's duration. Raises InputError for a format
        that cannot be held, and for what is no `av.VideoFrame`.
        """
        _check_video_frame(picture)
        self._first, self._format = _described(picture), cuda_frames.samples_format(picture)
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
        if (described := _described(picture)) != self._first:
            raise InputError(
                f"a frame of {described} follows others of {self._first}; all must be alike"
            )
        return Frame(
            time=time,
            planes=self._planes(picture, info),
            origin=picture,
            duration=picture.duration * time_base_of(picture) if picture.duration else None,
            corrupt=bool(picture.is_corrupt),
        )

    def picture(self, frame: Frame, info: VideoInfo) -> Any:
        """Return an output frame as a new `av.VideoFrame`; a source frame shares its samples.

        On a device every one is a copy, laid out as NVENC takes it.
        """
        if cuda_frames.lies_there(frame.origin):
            return self._maker.made(frame.planes, info, self._format, frame.origin)
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

    def _planes(self, picture: Any, info: VideoInfo) -> Planes:
        """Return the samples of a picture, where they are."""
        if cuda_frames.lies_there(picture):
            return cuda_frames.planes_of(picture, self._format, info.layout)
        return view(self._as_planar(picture), info.layout)

    def _as_planar(self, picture: Any) -> Any:
        """Return `picture` itself where its samples are planar; "yuvj" only names a range."""
        if self._format == self._planar or self._format.startswith("yuvj"):
            return picture
        return reshape(picture, picture.width, picture.height, self._planar)


def _described(picture: av.VideoFrame) -> str:
    """Return a frame's size and format. Raises InputError for samples that cannot be reached."""
    name, inner = picture.format.name, cuda_frames.samples_format(picture)
    return f"{picture.width}x{picture.height} {name if name == inner else f'{name} of {inner}'}"


def _check_video_frame(picture: Any) -> None:
    """Refuse what is no `av.VideoFrame`, or an empty one. Raises InputError."""
    if not isinstance(picture, av.VideoFrame):
        raise InputError(f"{type(picture).__name__} is no av.VideoFrame; arrays go to interpolate")
    if not picture.width or not picture.height:
        raise InputError(f"a frame of {picture.width}x{picture.height} has no samples")
