"""Animated WebP, which FFmpeg does not decode: its pictures, put together and passed on as NUT.

FFmpeg decodes single pictures of WebP. An animation is a canvas onto which such pictures are laid;
see https://developers.google.com/speed/webp/docs/riff_container.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from ltxfilter.errors import InputError
from ltxfilter.media.pipe.libav_io import InputStream
from ltxfilter.media.pixfmt import check_size
from ltxfilter.media.pyav_compat import open_output

log = logging.getLogger("ltxfilter.media")

MILLISECOND = Fraction(1, 1000)  # in which the durations of its pictures are stated
UNSTATED = 100  # milliseconds that browsers and ffmpeg show a picture whose duration is 0
HAS_ALPHA = 0x10  # a flag of VP8X
NO_BLENDING, DISPOSE = 0x02, 0x01  # flags of ANMF
# Without them swscale is off by some codes, and leaves out the last columns of many widths.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
LARGEST_CHUNK = 1 << 28  # bytes

Canvas = NDArray[np.uint8]  # [rows, columns, RGBA]


class Chunk(NamedTuple):
    """A part of a RIFF file."""

    name: bytes
    body: bytes


class AnimatedWebp:
    """An animation as a stream of NUT with raw video; reads no further than it has to."""

    def __init__(self, stream: InputStream, name: str) -> None:
        """Take over `stream`, which stands at its beginning. name: what messages call it."""
        self.name = name
        self._stream = stream
        self._parts = self._nut()
        self._ready = b""
        self._durations: dict[
            int, int
        ] = {}  # when a picture is shown -> for how long, milliseconds

    def duration_at(self, time: Fraction) -> Fraction | None:
        """Return the seconds for which the picture that appears at `time` is shown; None without.

        NUT does not state it, and of the last one nothing else tells.
        """
        duration = self._durations.get(round(time / MILLISECOND))
        return None if duration is None else duration * MILLISECOND

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end. Raises InputError, Stopped."""
        while not self._ready:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._ready = part
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def cancel(self) -> None:
        """Make a waiting read, and every later one, raise Stopped soon."""
        self._stream.cancel()

    def close(self) -> None:
        """Release it; calling it twice does nothing."""
        self._stream.close()

    def _nut(self) -> Iterator[bytes]:
        """Yield the bytes of the NUT file."""
        self._exactly(12)  # RIFF, its size, WEBP
        header = self._chunk()
        if header is None or header.name != b"VP8X" or len(header.body) < 10:
            raise InputError(f"{self.name}: is damaged at its start")
        width, height = _number(header.body[4:7]) + 1, _number(header.body[7:10]) + 1
        check_size(self.name, width, height)
        pix_fmt = "rgba" if header.body[0] & HAS_ALPHA else "rgb24"
        pictures = self._pictures(width, height)
        first = next(pictures, None)
        if first is None:
            raise InputError(f"{self.name}: no video frames")
        written = _Bytes()
        with open_output(written, format="nut", container_options={"flush_packets": "1"}) as out:
            # NUT states no durations; libav takes that of the last picture from the rate.
            video = out.add_stream("rawvideo", rate=Fraction(1000, first[1]))
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = width, height, pix_fmt
            video.codec_context.time_base = video.time_base = MILLISECOND
            for time, duration, canvas in chain([first], pictures):
                channels = canvas if pix_fmt == "rgba" else canvas[..., :3]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(channels), format=pix_fmt)
                frame.pts, frame.time_base, frame.duration = time, MILLISECOND, duration
                for packet in video.encode(frame):
                    packet.duration = duration
                    out.mux(packet)
                yield written.taken()
        yield written.taken()

    def _pictures(self, width: int, height: int) -> Iterator[tuple[int, int, Canvas]]:
        """Yield when each picture is shown and for how long, in milliseconds, and the canvas."""
        canvas = np.zeros((height, width, 4), np.uint8)
        time = 0
        while (chunk := self._chunk()) is not None:
            if chunk.name != b"ANMF" or len(chunk.body) < 16:
                continue
            head, flags = chunk.body, chunk.body[15]
            left, top = 2 * _number(head[0:3]), 2 * _number(head[3:6])
            size = _number(head[6:9]) + 1, _number(head[9:12]) + 1
            picture = _decoded(chunk.body[16:], *size)
            duration = _number(head[12:15]) or UNSTATED
            time += duration
            if picture is None or left + size[0] > width or top + size[1] > height:
                log.warning("%s: a damaged picture is left out", self.name)
                continue
            place = canvas[top : top + size[1], left : left + size[0]]
            place[:] = picture if flags & NO_BLENDING else _over(picture, place)
            self._durations[time - duration] = duration
            yield time - duration, duration, canvas
            if flags & DISPOSE:
                place[:] = 0

    def _chunk(self) -> Chunk | None:
        """Return the next chunk of the file; None at its end, and where it breaks off."""
        head = self._exactly(8)
        size = _number(head[4:8])
        if len(head) < 8 or size > LARGEST_CHUNK:
            return None
        body = self._exactly(size + size % 2)
        return Chunk(head[:4], body[:size]) if len(body) >= size else None

    def _exactly(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        data = b""
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        return data


class _Bytes:
    """Collects what is written until it is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _decoded(chunks: bytes, width: int, height: int) -> Canvas | None:
    """Decode the picture that the chunks of one ANMF hold; None if it is damaged.

    width, height: as the animation states them, pixels.
    """
    extended = b""
    if chunks.startswith(b"ALPH"):
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        extended = b"VP8X" + (10).to_bytes(4, "little") + bytes([HAS_ALPHA, 0, 0, 0]) + size
    body = b"WEBP" + extended + chunks
    decoder = av.CodecContext.create("webp", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    try:
        packet = av.Packet(b"RIFF" + len(body).to_bytes(4, "little") + body)
        frames = [*decoder.decode(packet), *decoder.decode(None)]
    except (av.FFmpegError, ValueError):
        return None
    if not frames or (frames[0].width, frames[0].height) != (width, height):
        return None
    pixels: Any = frames[0].reformat(format="rgba", interpolation=EXACT, threads=1).to_ndarray()
    return np.asarray(pixels, np.uint8)


def _over(picture: Canvas, below: Canvas) -> Canvas:
    """Return `picture` laid over `below`; their colours are not multiplied by alpha."""
    if (picture[..., 3] == 255).all():
        return picture
    alpha = picture[..., 3:].astype(np.float32) / 255
    shining = below[..., 3:].astype(np.float32) / 255 * (1 - alpha)
    total = alpha + shining
    colors = picture[..., :3] * alpha + below[..., :3] * shining
    colors /= np.where(total > 0, total, 1)
    laid: Canvas = np.rint(np.dstack([colors, 255 * total])).astype(np.uint8)
    return laid
