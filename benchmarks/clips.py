"""Clips as planes in memory, and the output of ffmpeg's filters for the same frames."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes

LABELS = Path(__file__).parent / "labels"
KINDS = (".mp4", ".mkv", ".webm", ".mov", ".y4m", ".ts", ".avi")


@dataclass(frozen=True, slots=True)
class Clip:
    """Some frames of a clip, at a nominal rate of 25 frames per second."""

    name: str
    info: VideoInfo
    frames: list[Planes]


def files(folder: Path) -> list[Path]:
    """Return the videos in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in KINDS)


def load(path: Path, count: int) -> Clip:
    """Decode up to `count` frames to yuv420p, or yuv420p10le where there is more than 8 bits.

    Full range becomes limited: ffmpeg did so by itself until version 6, and scores in dB depend
    on it.
    """
    width, height, pix_fmt = _geometry(path)
    kept = "yuv420p10le" if "10" in pix_fmt or "12" in pix_fmt else "yuv420p"
    command = [ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", "scale=out_range=limited"]
    command += ["-frames:v", str(count), "-pix_fmt", kept, "-f", "rawvideo", "-"]
    info = VideoInfo(width, height, kept, plane_shapes(kept, width, height), Fraction(25))
    done = subprocess.run(command, capture_output=True, check=True)
    return Clip(path.stem, info, list(_split(done.stdout, info)))


def _geometry(path: Path) -> tuple[int, int, str]:
    """Return width, height and pixel format of the first video stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, str(stream.pix_fmt)


def _split(data: bytes, info: VideoInfo) -> Iterator[Planes]:
    for start in range(0, len(data) - info.frame_bytes + 1, info.frame_bytes):
        planes, at = [], start
        for shape in info.layout:
            size = shape.width * shape.height
            flat = np.frombuffer(data, shape.dtype, size, at)
            planes.append(flat.reshape(shape.height, shape.width))
            at += shape.nbytes
        yield tuple(planes)


def write_y4m(path: Path, frames: Iterable[Planes], info: VideoInfo, rate: Fraction) -> None:
    """Write 4:2:0 frames of 8 or 10 bits as yuv4mpegpipe."""
    kind = "420mpeg2" if info.depth == 8 else f"420p{info.depth} XYSCSS=420P{info.depth}"
    with path.open("wb") as out:
        head = f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator}"
        out.write(f"{head} Ip A1:1 C{kind}\n".encode())
        for planes in frames:
            out.write(b"FRAME\n")
            for plane in planes:
                out.write(np.ascontiguousarray(plane).data)


def read_raw(path: Path, info: VideoInfo) -> list[Planes]:
    """Read the raw frames of a file, in the format that `info` describes."""
    return list(_split(path.read_bytes(), info))


def filtered(clip: Clip, step: int, graph: str, cache: Path) -> list[Planes]:
    """Return the output of an ffmpeg filter graph for every `step`-th frame of a clip.

    graph: `{rate}` in it stands for the output rate. cache: folder that outputs are kept in.
    """
    key = hashlib.sha256(f"{clip.name} {len(clip.frames)} {step} {graph}".encode()).hexdigest()[:16]
    kept = cache / f"{key}.yuv"
    if not kept.exists():
        source = cache / f"{key}-{os.getpid()}.y4m"
        write_y4m(source, clip.frames[::step], clip.info, Fraction(25))
        target = source.with_suffix(".part")
        command = [ffmpeg_exe(), "-v", "error", "-y", "-i", str(source)]
        command += ["-vf", graph.format(rate=25 * step), "-fps_mode", "passthrough"]
        command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", str(target)]
        subprocess.run(command, check=True)
        source.unlink()
        target.rename(kept)
    return read_raw(kept, clip.info)


@cache
def ffmpeg_exe() -> str:
    """Return the path of an ffmpeg: the system's, or else the static one of imageio-ffmpeg."""
    if path := shutil.which("ffmpeg"):
        return path
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_with_vmaf() -> str | None:
    """Return an ffmpeg that has libvmaf: the static one of imageio-ffmpeg."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return shutil.which("ffmpeg-vmaf")
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path
