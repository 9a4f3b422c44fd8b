"""Video on hardware: what decodes and encodes, samples against the CPU's, frames that stay."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from av.codec.hwaccel import HWAccel

import ltxfilter
from benchmarks.first_run.checks import ROOT
from ltxfilter.media.container.hardware import missing
from ltxfilter.media.encoding.ffmpeg_build import on_hardware
from ltxfilter.media.python_pictures import cuda_frames

Found = dict[str, Any]

CODECS = {"libx264": "yuv420p", "libx265": "yuv420p10le"}  # of the clips -> their pixel format
SIZE, COUNT = (1920, 1080), 48
TINY, FEW = (96, 64), 4
PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le"}
NVENC = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")


def video_hardware(rehearse: bool) -> Found:
    """Return whether NVDEC gives the CPU's samples, and frames that stay on the GPU flow's."""
    refused = missing("cuda")
    encoders = on_hardware(NVENC)
    found: Found = {"nvdec": refused or "opens", "nvenc": encoders or "no encoder finds its device"}
    if refused and not rehearse:
        found["failed"] = f"-hwaccel cuda: {refused}"
        return found
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for codec, pix_fmt in CODECS.items():
            clip = Path(folder) / f"{codec}.mkv"
            _write(clip, codec, pix_fmt, TINY if rehearse else SIZE, FEW if rehearse else COUNT)
            with suppress(av.codec.codec.UnknownCodecError):
                found[codec] = _compared(clip, wrong, rehearse=rehearse)
        found["nvenc frames"] = {
            encoder: _encoded(Path(folder), encoder, wrong) for encoder in encoders
        }
    if wrong:
        found["failed"] = "; ".join(wrong)
    return found


def _write(path: Path, codec: str, pix_fmt: str, size: tuple[int, int], count: int) -> None:
    """Write a clip of a texture that moves."""
    width, height = size
    texture = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    large = texture.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, width=width, height=height, pix_fmt=pix_fmt)
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for number in range(count):
            picture = np.roll(large, 3 * number, 1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))


def _compared(clip: Path, wrong: list[str], *, rehearse: bool) -> Found:
    """Compare a clip's frames: of NVDEC with the CPU's, and interpolated ones with those."""
    engine = "flow:preset=fast" if rehearse else "flow:device=cuda"
    host, seconds = _timed(_interpolated(_decoded(clip, None), engine))
    found: Found = {"host frames/s": round(len(host) / seconds, 1)}
    ways = {"nvdec to the host": _decoded(clip, False), "nvdec stays": _decoded(clip, True)}
    if rehearse:
        ways = {"stand-in stays": _stand_ins(clip)}
    for name, frames in ways.items():
        made, seconds = _timed(_interpolated(frames, engine))
        found[f"{name} frames/s"] = round(len(made) / seconds, 1)
        if made != host:
            wrong.append(f"{clip.stem}: {name}: the samples are not those of the CPU's decoder")
    return found


def _decoded(clip: Path, stays: bool | None) -> Iterator[av.VideoFrame]:
    """Yield a clip's frames. stays: on the GPU; None decodes on the CPU."""
    accel = None if stays is None else HWAccel("cuda")
    if stays:  # in torch's context, for torch was first to use the GPU
        accel = HWAccel("cuda", options={"primary_ctx": "0", "current_ctx": "1"}, is_hw_owned=True)
    with av.open(str(clip), hwaccel=accel) as container:
        yield from container.decode(video=0)


def _stand_ins(clip: Path) -> Iterator[av.VideoFrame]:
    """Yield a clip's frames in host memory, which are taken for such as stay on a GPU."""
    with patch.object(cuda_frames, "lies_there", lambda frame: frame.format.name in PLANAR):
        for frame in _decoded(clip, None):
            name = "p010le" if frame.format.components[0].bits > 8 else "nv12"
            yield frame.reformat(format=name, threads=1)


def _interpolated(frames: Iterator[av.VideoFrame], engine: str) -> Iterator[av.VideoFrame]:
    """Yield frames at twice their rate."""
    with ltxfilter.Interpolator(fps=50, fps_in=25, engine=engine) as interpolator:
        for frame in frames:
            interpolator.push(frame)
            yield from interpolator.frames()
        interpolator.push(None)
        yield from interpolator.frames()


def _timed(frames: Iterator[av.VideoFrame]) -> tuple[list[bytes], float]:
    """Return the samples of frames, planar and in host memory, and the seconds it all took."""
    begin = perf_counter()
    made = list(frames)
    seconds = perf_counter() - begin
    kept = []
    for frame in made:
        name = frame.sw_format.name if frame.sw_format else frame.format.name
        shown = frame.reformat(format=name) if frame.sw_format else frame
        kept.append(shown.reformat(format=PLANAR.get(name, name), threads=1).to_ndarray().tobytes())
    return kept, seconds


def _encoded(folder: Path, encoder: str, wrong: list[str]) -> Found:
    """Encode on the GPU by the command line, and frames that stay there by the example."""
    clip, found = folder / "libx264.mkv", Found()
    command = [sys.executable, "-m", "ltxfilter", "-hwaccel", "cuda", "-i", str(clip)]
    command += ["--engine", "flow:device=cuda", "--fps", "50", "-c:v", encoder]
    example = [sys.executable, "examples/cuda_frames.py", str(clip)]
    outputs = {name: folder / f"{encoder} {name}.mkv" for name in ("by command", "stays")}
    lines = {
        "by command": [*command, str(outputs["by command"])],
        "stays": [*example, str(outputs["stays"]), encoder],
    }
    for name, line in lines.items():
        done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            wrong.append(f"{encoder}, {name}: {(done.stdout + done.stderr).strip()[-300:]}")
            continue
        found[name] = _shown(outputs[name], clip)
        if found[name]["frames"] != 2 * COUNT or found[name]["psnr dB"] < 30:
            wrong.append(f"{encoder}, {name}: {found[name]}")
    return found


def _shown(path: Path, clip: Path) -> Found:
    """Return how many frames a file has, and the luma PSNR of every second one to a clip."""
    with av.open(str(path)) as made, av.open(str(clip)) as given:
        frames = [frame.to_ndarray(format="gray") for frame in made.decode(video=0)]
        expected = [frame.to_ndarray(format="gray") for frame in given.decode(video=0)]
    pairs = zip(frames[::2], expected, strict=False)
    errors = [float(np.mean((a.astype(np.float64) - b) ** 2)) for a, b in pairs]
    psnr = 10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9))
    return {"frames": len(frames), "psnr dB": round(float(psnr), 1)}
