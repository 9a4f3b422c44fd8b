"""What tests ask of media files: a path that repeats frames, made inputs, facts of outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from ltxfilter.frame import Frame, Made, Planes
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.media.container.demux import is_cover
from ltxfilter.media.pyav_compat import side_data_of
from ltxfilter.options import InputOptions, OutputOptions
from ltxfilter.windows.timeline import Timeline, output_rate

FAST = {"preset": "ultrafast"}


def write_repeating(
    source: ContainerSource, sink: ContainerSink, rate: Fraction | None, limit: int = 10**9
) -> int:
    """Write `source` at `rate`, with frames repeated, and finish.

    limit: of frames; it stops there, unfinished. Returns how many frames were written.
    """
    written = 0
    for frame in repeating(source, rate):
        sink.write(frame)
        written += 1
        if written == limit:
            return written
    sink.finish()
    return written


def repeating(source: ContainerSource, rate: Fraction | None) -> Iterator[Frame]:
    """Yield the output frames of a path that only repeats source frames."""
    timeline: Timeline | None = None
    previous: Frame | None = None
    for frame in source.frames():
        if timeline is None:
            timeline = Timeline(rate, frame.time)
        if previous is not None:
            yield from _until(previous, timeline.between(previous.time, frame.time))
        previous = frame
    if previous is not None and timeline is not None:
        yield from _until(
            previous, timeline.tail(previous.time, previous.time + _last(source, previous))
        )


def _last(source: ContainerSource, frame: Frame) -> Fraction:
    interval = source.info.interval or Fraction(1, 25)
    short = frame.duration is None or frame.duration < interval / 2
    return interval if short else frame.duration or interval


def _until(frame: Frame, slots: Iterator[tuple[int, Fraction, Fraction]]) -> Iterator[Frame]:
    for _, time, tau in slots:
        yield replace(frame, time=time, made=Made.SOURCE if tau == 0 else Made.REPEATED)


def convert_repeating(
    path: Path | str,
    output: Path | str,
    fps: str = "auto",
    *,
    reading: dict[str, Any] | None = None,
    **writing: Any,
) -> ContainerSink:
    """Convert a file with frames repeated; returns the sink, closed."""
    writing = {"encoder": FAST, "codec": "libx264", **writing}
    source = ContainerSource(InputOptions(path=str(path), **(reading or {})))
    try:
        rate = output_rate(fps, source.info.rate)
        with ContainerSink(OutputOptions(path=str(output), **writing), source, rate) as sink:
            write_repeating(source, sink, rate)
        return sink
    finally:
        source.close()


@dataclass(frozen=True)
class Shown:
    """When a file's pictures are shown, as a player sees it."""

    times: list[Fraction]
    last: Fraction  # duration of the last picture

    @property
    def duration(self) -> Fraction:
        """Seconds; a last duration under half the median counts as the median."""
        deltas = sorted(b - a for a, b in pairwise(self.times))
        median = deltas[len(deltas) // 2] if deltas else self.last
        last = self.last if self.last >= median / 2 else median
        return self.times[-1] - self.times[0] + last


def shown(path: Path | str) -> Shown:
    """Decode a file and return when its pictures are shown."""
    frames = [
        (frame.pts * frame.time_base, (frame.duration or 0) * frame.time_base)
        for frame in decoded(path)
    ]
    frames.sort()
    return Shown([time for time, _ in frames], frames[-1][1])


def decoded(path: Path | str) -> Iterator[av.VideoFrame]:
    """Yield the frames of a file's first video."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if not is_cover(s))
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def side_data_names(frame: av.VideoFrame) -> set[str]:
    """Return PyAV's names of the side data that a frame carries."""
    return {kind.name for kind in Type if side_data_of(frame, kind.name) is not None}


def facts(path: Path) -> dict[str, Any]:
    """Return what a file says of itself and of its streams beside the video's frames."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type in ("video", "audio", "subtitle")]
        return {
            "tags": dict(container.metadata),
            "kinds": [s.type for s in streams],
            "languages": [s.metadata.get("language") for s in streams],
            "dispositions": [int(s.disposition) for s in streams],
            "chapters": [
                (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
                for c in container.chapters()
            ],
            "attachments": {
                s.name: (s.mimetype, bytes(s.data))
                for s in container.streams
                if s.type == "attachment"
            },
        }


def md5(planes: Planes) -> str:
    """Return the digest of a picture's samples."""
    digest = hashlib.md5(usedforsecurity=False)
    for plane in planes:
        digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()


def audio_packets(path: Path | str) -> list[bytes]:
    """Return the packets of the first audio stream, byte for byte."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def sound_lag(path: Path | str) -> Fraction | None:
    """Return how long after the first picture the first audio packet starts, in seconds."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        packets = container.demux(container.streams.audio[0])
        sound = next(packet.pts * packet.time_base for packet in packets if packet.pts is not None)
    frame = next(decoded(path))
    return sound - frame.pts * frame.time_base


def make_video(
    path: Path,
    frames: int = 10,
    *,
    size: tuple[int, int] = (64, 48),
    rate: Fraction = Fraction(25),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pts: Callable[[int], int] = lambda index: index,
    audio: bool = False,
    format: str | None = None,  # noqa: A002
    title: str | None = None,
    matrix: tuple[int, ...] | None = None,
) -> Path:
    """Write a small video of moving noise-free ramps.

    size: pixels. rate: frames per second. pts: of each frame, in 1 / rate. audio: whether a tone
    goes with it. title: a tag of the file. matrix: how it is turned for display, FFmpeg's nine
    numbers.
    """
    with av.open(str(path), "w", format=format) as container:
        if title is not None:
            container.metadata["title"] = title
        video = container.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = 1 / rate
        if matrix is not None:
            video.set_display_matrix(matrix)
        sound = container.add_stream("aac", rate=48000) if audio else None
        for index in range(frames):
            frame = ramp(index, size, pix_fmt)
            frame.pts, frame.time_base = pts(index), 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(tone(sound, frames / rate))
    return path


def ramp(index: int, size: tuple[int, int], pix_fmt: str = "yuv420p") -> av.VideoFrame:
    """Return a picture that differs from its neighbours everywhere."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    picture = np.stack(
        [columns * 3 + index * 7, rows * 4 + index * 5, columns + rows + index * 9], axis=-1
    ).astype(np.uint8)
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)


def tone(stream: Any, seconds: Fraction) -> list[av.Packet[Any]]:
    """Return the packets of a stereo tone at 48 kHz."""
    time = np.arange(int(48000 * seconds))
    samples = np.tile((np.sin(time / 20) * 0.3).astype(np.float32), (2, 1))
    packets: list[av.Packet[Any]] = []
    for start in range(0, samples.shape[1], 1024):
        part = np.ascontiguousarray(samples[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


QUARTER_TURN = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a display matrix
NOISE_SIZE = (46, 30)  # pixels; rows of this width are padded


def noise_frame(pix_fmt: str, size: tuple[int, int] = NOISE_SIZE) -> av.VideoFrame:
    """Return a frame of random samples, unused bits zero, unused bytes full."""
    rng = np.random.default_rng(0)
    frame = av.VideoFrame(*size, pix_fmt)
    for plane in frame.planes:
        data = np.frombuffer(plane, np.uint8)
        data[:] = rng.integers(0, 256, data.size, dtype=np.uint8)
        order = ">u2" if pix_fmt.endswith("be") else "<u2"
        bits = frame.format.components[0].bits
        if 8 < bits < 16:
            samples = np.frombuffer(plane, order)
            high = pix_fmt.startswith(("p", "y2"))  # semi-planar formats use the high bits
            samples[:] = (samples >> (16 - bits)) << (16 - bits if high else 0)
        if "0" in (pix_fmt[0], pix_fmt[-1]) and pix_fmt.strip("0") in ("rgb", "bgr"):
            data[3 * (pix_fmt[-1] == "0") :: 4] = 255
    return frame
