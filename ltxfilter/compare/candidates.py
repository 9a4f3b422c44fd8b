"""What is compared with the true frames: engines that draw them back, and files of other tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from shlex import quote
from typing import Protocol

import cv2
import numpy as np

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions, ModelOptions, Options
from ltxfilter.pipeline.frame_path import FramePath


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a candidate shows in the place of one frame."""

    index: int
    """Of the frame that it stands for, from 0."""

    planes: Planes
    """In the format of the clip."""

    made: str = "given"
    """source, interpolated or repeated, as in a report; given: it comes from a file."""

    psnr_db: float | None = None
    """What its engine expects the PSNR to be, in dB; None without an estimate."""


class Candidate(Protocol):
    """Something that is compared. Calls come in the order of frames, from one thread at a time."""

    name: str
    """What tables call it."""

    @property
    def ended(self) -> bool:
        """True once it has nothing to show for any further frame."""
        ...

    def push(self, index: int, frame: Frame) -> Iterator[Attempt]:
        """Take frame `index` of the clip; yield what is ready, in the order of frames.

        Raises LtxFilterError.
        """
        ...

    def finish(self) -> Iterator[Attempt]:
        """Yield the rest, after the last frame. Raises LtxFilterError."""
        ...

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        ...


class EngineCandidate:
    """An engine that sees every `step`-th frame of a clip and draws the others back."""

    ended = False

    def __init__(self, spec: str, info: VideoInfo, step: int, models: ModelOptions) -> None:
        """Open the engine that `spec` describes. Raises OptionError, EngineError.

        info: of the whole clip, which has a constant rate.
        """
        assert info.rate is not None
        self.name = spec
        self._rate, self._step = info.rate, step
        seen = replace(info, rate=info.rate / step, interval=step / info.rate)
        self._path = FramePath(seen, info.rate, Options(engine=spec, models=models))
        self._count = 0  # output frames so far

    def push(self, index: int, frame: Frame) -> Iterator[Attempt]:
        """Let the engine see the frame if it is one of those that it may see."""
        if index % self._step == 0:
            time = index / self._rate
            seen = replace(frame, time=time, duration=self._step / self._rate)
            yield from self._numbered(self._path.push(seen))

    def finish(self) -> Iterator[Attempt]:
        """Yield what follows the last frame that it saw."""
        yield from self._numbered(self._path.finish())

    def _numbered(self, frames: Iterator[Frame]) -> Iterator[Attempt]:
        for frame in frames:
            yield Attempt(self._count, as_host(frame.planes), frame.made.value, frame.psnr_db)
            self._count += 1

    def close(self) -> None:
        """Release the engine."""
        self._path.close()


def as_host(planes: Planes) -> Planes:
    """Return planes in the host's memory; those of a device are copied."""
    return tuple(np.asarray(plane) for plane in planes)


class FileCandidate:
    """A file whose n-th frame stands for the n-th frame of the clip."""

    def __init__(self, path: str, name: str, info: VideoInfo, clip: str) -> None:
        """Open the file. Raises InputError if its frames cannot stand for the clip's.

        name: what tables call it. info: of the clip. clip: its name, for messages.
        """
        self.name = name
        self._source = open_source(InputOptions(path=path, autorotate=True))
        try:
            self._info = self._source.info
            _check_alike(path, self._info, clip, info)
        except BaseException:
            self._source.close()
            raise
        self.ended = False
        self._clip = info
        self._frames = self._source.frames()

    def push(self, index: int, frame: Frame) -> Iterator[Attempt]:  # noqa: ARG002
        """Yield the file's own frame, unless it has ended."""
        own = next(self._frames, None)
        if own is None:
            self.ended = True
        else:
            yield Attempt(index, conformed(own.planes, self._info, self._clip))

    def finish(self) -> Iterator[Attempt]:
        """Yield nothing."""
        return iter(())

    def close(self) -> None:
        """Close the file."""
        with closing(self._source):
            self._frames = iter(())


def _check_alike(name: str, info: VideoInfo, clip: str, wanted: VideoInfo) -> None:
    """Raise InputError if frames of `info` cannot be compared with those of `wanted`."""
    if (info.width, info.height) != (wanted.width, wanted.height):
        raise InputError(
            f"{name}: is {info.width}x{info.height}, {clip} {wanted.width}x{wanted.height}; both "
            "must have one size"
        )
    if info.rate != wanted.rate:
        raise InputError(
            f"{name}: has {_rate(info.rate)}, {clip} {_rate(wanted.rate)}; frame n of one is "
            "compared with frame n of the other, so both must have one rate"
        )
    if (info.layout[0].role == "y") != (wanted.layout[0].role == "y"):
        raise InputError(
            f"{name}: is {info.pix_fmt}, {clip} {wanted.pix_fmt}; convert one of them, for example "
            f"with ffmpeg -i {quote(name)} -pix_fmt {wanted.pix_fmt} -c:v ffv1 converted.mkv"
        )
    if info.color.full_range != wanted.color.full_range and info.layout[0].role == "y":
        ours, theirs = ("full" if i.color.full_range else "limited" for i in (wanted, info))
        raise InputError(
            f"{name}: uses the {theirs} code range, {clip} the {ours} one; convert it, for example "
            f"with ffmpeg -i {quote(name)} -vf scale=out_range={ours} -c:v ffv1 converted.mkv"
        )


def _rate(rate: Fraction | None) -> str:
    return "a variable frame rate" if rate is None else f"{float(rate):.6g} frames per second"


def conformed(planes: Planes, info: VideoInfo, wanted: VideoInfo) -> Planes:
    """Return planes of `info` in the format of `wanted`: its depth, and its size of chroma.

    The first plane keeps its values; a code is shifted to the other depth. Both have one size.
    """
    if info.layout == wanted.layout:
        return planes
    by_role = {
        shape.role: (plane, shape.depth) for plane, shape in zip(planes, info.layout, strict=True)
    }
    found = []
    for shape in wanted.layout:
        plane, depth = by_role.get(shape.role, (None, shape.depth))
        if plane is None:  # gray has no chroma, and opaque pictures have no alpha
            code = (1 << shape.depth) - 1 if shape.role == "a" else 1 << (shape.depth - 1)
            found.append(np.full((shape.height, shape.width), code, shape.dtype))
            continue
        if plane.shape != (shape.height, shape.width):
            plane = cv2.resize(plane, (shape.width, shape.height), interpolation=cv2.INTER_AREA)
        if depth <= shape.depth:
            found.append(plane.astype(shape.dtype) << (shape.depth - depth))
        else:
            found.append((plane >> (depth - shape.depth)).astype(shape.dtype))
    return tuple(found)
