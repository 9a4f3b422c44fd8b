"""Peak memory of encoders, each alone in a process of its own, against what is stated before work.

python -m benchmarks.encoder_memory [PART OF A CODEC'S NAME]; results/encoder_memory.json
python -m benchmarks.encoder_memory --restate: the peaks of these results against today's models
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.record import RESULTS, table, write
from ltxfilter.cli.main import HEAP
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.avframe import from_planes
from ltxfilter.media.encoding.encoder_memory import encoder_share
from ltxfilter.media.encoding.process_state import ordinary_priority
from ltxfilter.media.encoding.settings import EncoderSettings, configure, encoder_settings
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import OutputOptions
from ltxfilter.values import MIB

Row = dict[str, Any]

RATE = Fraction(50)  # frames per second
MOST_FRAMES = 420  # that an encoder is given; the longest of the grid gives its first packet at 305
STEADY_FRAMES = 20  # that it is given after its first packet
STEPS = 16  # pixels per frame that the picture moves, at most
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
MUXERS = {"libvpx": "webm", "huffyuv": "avi"}  # where Matroska does not hold a codec
STATUS = Path("/proc/self/status")

X264, X265, SVT = "x264-params", "x265-params", "svtav1-params"
GRID: dict[str, dict[str, list[str]]] = {  # codec -> size -> pixel format and options
    "libx264": {
        "720p": [
            "preset=ultrafast", "preset=superfast", "preset=veryfast", "preset=faster",
            "preset=medium", "preset=slow", "preset=veryslow", "preset=veryfast,tune=zerolatency",
            f"preset=veryfast,{X264}=rc-lookahead=120", "preset=veryfast,rc-lookahead=60",
            f"preset=veryfast,{X264}=threads=8:sliced-threads=0", "preset=veryfast,bf=8,refs=8",
            "preset=veryfast,threads=16", "yuv420p10le,preset=veryfast", "yuv444p,preset=veryfast",
        ],
        "1080p": [
            "preset=ultrafast", "preset=veryfast", "preset=faster", "preset=medium",
            "preset=veryfast,thread_type=frame,threads=8",
            f"preset=superfast,{X264}=rc-lookahead=90",
        ],
        "4K": ["preset=ultrafast", "preset=superfast", "preset=veryfast"],
    },
    "libx265": {
        "720p": [
            "preset=ultrafast", "preset=veryfast", "preset=medium",
            "preset=ultrafast,tune=zerolatency",
            f"preset=ultrafast,{X265}=rc-lookahead=80", f"preset=ultrafast,{X265}=frame-threads=4",
            f"preset=ultrafast,{X265}=pools=4", f"preset=ultrafast,{X265}=ref=5:bframes=4",
            "yuv420p10le,preset=ultrafast", "yuv444p,preset=ultrafast",
        ],
        "1080p": [
            "preset=ultrafast", "preset=superfast", f"preset=ultrafast,{X265}=frame-threads=8",
        ],
        "4K": ["preset=ultrafast"],
    },
    "libsvtav1": {
        "720p": [
            "preset=12", "preset=10", "preset=8", "preset=6", f"preset=10,{SVT}=lp=1",
            f"preset=12,{SVT}=lp=4", f"preset=12,{SVT}=lp=6",
            f"preset=10,{SVT}=hierarchical-levels=3",
            f"preset=10,{SVT}=lookahead=60", f"preset=10,{SVT}=pred-struct=1",
            f"preset=10,b=2M,{SVT}=rc=1:lookahead=90", "yuv420p10le,preset=10",
        ],
        "1080p": ["preset=12", "preset=10", "preset=8"],
        "4K": ["preset=12", f"preset=12,{SVT}=lp=1"],
    },
    "libvpx-vp9": {
        "720p": [
            "cpu-used=3", "cpu-used=8", "cpu-used=8,lag-in-frames=0", "cpu-used=8,lag-in-frames=10",
            "cpu-used=8,threads=8,tile-columns=2",
        ],
        "1080p": ["cpu-used=8"],
        "4K": ["cpu-used=8,lag-in-frames=5"],
    },
    "libvpx": {
        "720p": ["", "threads=4,lag-in-frames=25"], "1080p": ["cpu-used=8"], "4K": ["cpu-used=8"],
    },
    "ffv1": {
        "720p": ["", "slices=24,context=1,level=3", "yuv420p10le", "yuv444p"],
        "1080p": [""], "4K": [""],
    },
    "prores_ks": {"720p": ["yuv422p10le", "yuv444p10le"], "1080p": ["yuv422p10le"]},
    "prores": {"720p": ["yuv422p10le"], "1080p": ["yuv422p10le"], "4K": ["yuv422p10le"]},
    "mpeg2video": {"720p": ["", "bf=8", "threads=8", "yuv422p"], "1080p": [""], "4K": [""]},
    "mjpeg": {
        "720p": ["strict=unofficial", "strict=unofficial,thread_type=frame,threads=4"],
        "1080p": ["strict=unofficial"], "4K": ["strict=unofficial"],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """An encoder with options, at a size."""

    codec: str
    size: str
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, codec: str, size: str, text: str) -> Case:
        """Read "PIX_FMT,key=value,key=value"; the pixel format may be missing."""
        words = [word for word in text.split(",") if word]
        pix_fmt = words.pop(0) if words and "=" not in words[0] else "yuv420p"
        return cls(codec, size, pix_fmt, dict(word.split("=", 1) for word in words))


def cases(wanted: str) -> Iterator[Case]:
    """Yield the cases of the grid whose codec has `wanted` in its name."""
    for codec, sizes in GRID.items():
        if wanted in codec:
            for size, texts in sizes.items():
                yield from (Case.of(codec, size, text) for text in texts)


def measure(case: Case) -> Row:
    """Encode until the encoder is in its stride, in this process; return its peak and its share."""
    info, settings = _info(case), _settings(case)
    share = encoder_share(settings, RATE)
    wide = tuple(_texture(shape.height, shape.width, shape.depth) for shape in info.layout)
    before = _begin()
    frames, first = _encode(settings, info, wide)
    peak = _status("VmHWM") - _status("RssFile") - before
    return {"frames": frames, "first packet": first, "peak": peak, "stated": share.nbytes}


def _settings(case: Case) -> EncoderSettings:
    return encoder_settings(
        OutputOptions(path="out.mkv", codec=case.codec, encoder=case.options),
        MUXERS.get(case.codec, "matroska"),
        _info(case),
        RATE,
    )


def restated() -> list[Row]:
    """Return the rows of the last results with what is stated now."""
    rows: list[Row] = json.loads((RESULTS / "encoder_memory.json").read_text())["rows"]
    for row in rows:
        case = Case.of(row["codec"], row["size"], row["options"])
        stated = encoder_share(_settings(case), RATE).nbytes / MIB
        row |= _compared(row["peak MiB"], stated)
    return rows


def _compared(peak: float, stated: float) -> Row:
    return {
        "peak MiB": round(peak, 1),
        "stated MiB": round(stated, 1),
        "ratio": round(stated / peak, 3),
        "holds": "yes" if peak <= stated else "NO",
    }


def _encode(settings: EncoderSettings, info: VideoInfo, wide: Planes) -> tuple[int, int]:
    """Encode and drain; return how many frames went in, and before which one a packet came."""
    context = av.CodecContext.create(settings.codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    configure(context, settings, 1 / RATE, RATE)
    with ordinary_priority():
        context.open()
    first, number = MOST_FRAMES, 0
    while number < min(first + STEADY_FRAMES, MOST_FRAMES):
        planes = tuple(
            plane[number % STEPS :, 3 * number % STEPS :][: shape.height, : shape.width]
            for plane, shape in zip(wide, info.layout, strict=True)
        )
        picture = from_planes(planes, info)
        if picture.format.name != settings.pix_fmt:
            picture = picture.reformat(format=settings.pix_fmt)
        picture.pts = number
        if context.encode(picture):
            first = min(first, number)
        number += 1
    context.encode(None)
    return number, first


def _info(case: Case) -> VideoInfo:
    width, height = SIZES[case.size]
    shapes = plane_shapes(case.pix_fmt, width, height)
    return VideoInfo(width, height, case.pix_fmt, shapes, RATE / 2)


def _texture(height: int, width: int, depth: int) -> np.ndarray[Any, Any]:
    """Return blocks with fine noise, larger than a plane by what it moves."""
    random = np.random.default_rng(0)
    height, width = height + STEPS, width + STEPS
    coarse = random.integers(0, 200, (height // 32 + 1, width // 32 + 1), np.uint8)
    blocks = np.kron(coarse, np.ones((32, 32), np.uint8))[:height, :width]
    noisy: np.ndarray[Any, Any] = blocks + random.integers(0, 12, (height, width), np.uint8)
    return noisy.astype(np.uint16) << (depth - 8) if depth > 8 else noisy


def _begin() -> int:
    """Give back what is free, forget the peak so far, and return the bytes in use."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("RssAnon")


def _status(name: str) -> int:
    """Return a number of this process's status, in bytes."""
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def in_child(case: Case) -> Row:
    """Measure a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.encoder_memory", "--child", case.codec, case.size]
    words = [case.pix_fmt, *(f"{key}={value}" for key, value in case.options.items())]
    ended = subprocess.run(
        [*command, ",".join(words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    found = json.loads(ended.stdout.splitlines()[-1])
    return {
        "codec": case.codec,
        "size": case.size,
        "options": ",".join(words),
        "frames": found["frames"],
        "first packet": found["first packet"],
        **_compared(found["peak"] / MIB, found["stated"] / MIB),
    }


def main() -> None:
    """Measure the grid, or one case that a parent process names."""
    words = sys.argv[1:]
    if words[:1] == ["--child"]:
        with suppress(AttributeError):
            for name, value in HEAP.items():
                ctypes.CDLL(None).mallopt(name, value)
        print(json.dumps(measure(Case.of(*words[1:]))))
        return
    again = words == ["--restate"]
    rows = restated() if again else []
    for case in () if again else cases(words[0] if words else ""):
        rows.append(in_child(case))
        print(rows[-1], flush=True)
    print(table(rows))
    ratios = sorted(row["ratio"] for row in rows)
    summary = {"cases": len(rows), "least": ratios[0], "median": statistics.median(ratios)}
    print(summary)
    if not words or again:
        print(write("encoder_memory", rows, stated_over_peak=summary))


if __name__ == "__main__":
    main()
