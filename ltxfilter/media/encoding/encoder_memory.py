"""How many bytes an encoder holds at most, by models fitted to measurements.

`python -m benchmarks.encoder_memory` measures what is stated here; docs/log.md has the numbers.
Each model counts the pictures that its encoder keeps (lookahead, reordering, references, threads)
and the bytes of one as that encoder stores it, borders included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import av.codec.codec

from ltxfilter.frame import VideoInfo
from ltxfilter.media.encoding.ffmpeg_build import is_on_hardware
from ltxfilter.media.encoding.reported_options import REPORTING, reported_options
from ltxfilter.media.encoding.settings import EncoderSettings
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.options import available_threads
from ltxfilter.values import MIB


@dataclass(frozen=True, slots=True)
class EncoderShare:
    """What an encoder holds at most."""

    nbytes: int
    """Bytes, an upper bound."""

    measured: bool
    """False for an encoder that was never measured: the bound is that of the largest known, or for
    one on hardware what FFmpeg sets up for it."""


@dataclass(frozen=True, slots=True)
class CodedPictures:
    """The pictures that an encoder is given."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    sample_bytes: int
    """1 or 2."""

    per_pixel: float
    """Samples of all planes for each pixel: 1.5 with 4:2:0, 3 with 4:4:4."""

    alpha: bool = False
    """True if a plane of them is alpha."""

    @classmethod
    def of(cls, info: VideoInfo, pix_fmt: str) -> CodedPictures:
        """Describe pictures of the size of `info` in another pixel format."""
        shapes = plane_shapes(planar_name(pix_fmt), info.width, info.height)
        samples = sum(shape.width * shape.height for shape in shapes)
        nbytes = 2 if any(shape.depth > 8 for shape in shapes) else 1
        alpha = any(shape.role == "a" for shape in shapes)
        packed = av.VideoFormat(pix_fmt).padded_bits_per_pixel / 8 / nbytes  # bgr0 has a spare one
        per_pixel = max(samples / (info.width * info.height), packed)
        return cls(info.width, info.height, nbytes, per_pixel, alpha)

    def padded(self, grid: int, across: int, down: int) -> int:
        """Return the pixels of one plane rounded up to a grid, with borders.

        grid: pixels. across, down: pixels added to the width and to the height.
        """
        width, height = (-(-side // grid) * grid for side in (self.width, self.height))
        return (width + across) * (height + down)

    @property
    def nbytes(self) -> float:
        """Bytes of one picture without borders."""
        return self.width * self.height * self.per_pixel * self.sample_bytes


GAP_BYTES = MIB / 2
LOOKAHEAD = 32  # pictures, which encoders on hardware look ahead at most unless they are told to
DRIVER = 256 * MIB  # of a GPU's driver in this process

Options = Mapping[str, str]
Model = Callable[[CodedPictures, Options], float]  # what an encoder was asked -> bytes


def encoder_share(settings: EncoderSettings, rate: Fraction) -> EncoderShare:
    """Return how many bytes an encoder holds at most.

    rate: frames per second.
    """
    info = settings.video
    codec, options = settings.codec, settings.options
    pictures = CodedPictures.of(info, settings.pix_fmt)
    asked = {**options, **_params(options)}
    model = MODELS.get(codec)
    if codec in REPORTING:
        size = (info.width, info.height)
        reported = reported_options(codec, options, size, settings.pix_fmt, rate)
        asked |= reported
        model = model if reported else None
    if model is not None:
        return EncoderShare(ceil(model(pictures, asked)), measured=True)
    if codec in NATIVE or av.codec.codec.Codec(codec, "w").intra_only:
        nbytes = native(NATIVE.get(codec, LARGEST_NATIVE), pictures, asked)
        return EncoderShare(ceil(nbytes), measured=codec in NATIVE)
    if is_on_hardware(codec):
        return EncoderShare(ceil(hardware(pictures, asked)), measured=False)
    worst = max(x265(pictures, SLOWEST_X265), svtav1(pictures, {"preset": "0"}))
    return EncoderShare(ceil(worst), measured=False)


def x264(pictures: CodedPictures, options: Options) -> float:
    """Lookahead, frames that wait for their order, references, and a picture per frame thread."""
    bframes, threads = _int(options, "bframes"), _int(options, "threads", 1)
    if options.get("sliced_threads") == "1":
        threads = 1
    ahead = 4 * max(bframes, 3) if options.get("b_adapt") == "2" else bframes
    ahead = max(ahead, _int(options, "rc_lookahead")) + threads
    if threads > 1:
        ahead += _int(options, "sync_lookahead", bframes + 1)
    luma = pictures.padded(16, 64, 64) * pictures.sample_bytes
    chroma = luma * (pictures.per_pixel - 1)
    small = 4 * pictures.padded(32, 128, 128) / 4 * pictures.sample_bytes
    blocks = pictures.padded(16, 0, 0) / 256
    costs = (bframes + 2) ** 2 if options.get("b_adapt") == "2" else 4 * (bframes + 2)
    source = luma + chroma + small + blocks * (16 * (bframes + 1) + 2 * costs + 20)
    filtered = 4 if pictures.per_pixel == 3 else 1  # 4:4:4: chroma is searched like luma
    coded = 4 * luma + filtered * chroma + 160 * blocks
    coding, each = (4.6, 2.4) if bframes else (1.6, 1.3)  # pictures of one and of further threads
    references = 1.2 * _int(options, "ref", 1) + coding + each * (threads - 1)
    source += _gap(pictures)
    return (1.1 * ahead + bframes + 3) * source + references * coded + 4 * MIB


def x265(pictures: CodedPictures, options: Options) -> float:
    """Lookahead, frames that wait for their order, references, frame threads, pool threads."""
    bframes, threads = _int(options, "bframes"), _int(options, "frame_threads", 1)
    ahead = max(_int(options, "rc_lookahead"), bframes) + bframes + threads + 2
    picture = pictures.padded(64, 192, 160) * 1.5
    picture *= (0.36 + 0.64 * pictures.sample_bytes) * (0.5 + pictures.per_pixel / 3)
    coded = 39 + 4 * _int(options, "ref", 1) + 4.5 * (threads - 1)
    return (
        (2.35 * ahead + coded) * picture + ahead * _gap(pictures) + (6.5 * _pool(options) + 6) * MIB
    )


def svtav1(pictures: CodedPictures, options: Options) -> float:
    """Every picture between input and output, by the buffers that SVT-AV1 sets up for them.

    Its mini-GOPs have 32 pictures, or 16 with quick presets; it holds two of them, and up to seven
    more by how many threads it may use.
    """
    preset = _int(options, "preset", 8)
    level = _int(options, "lp") or max(_parallel_level(), min(_int(options, "threads"), 6))
    pixels = pictures.width * pictures.height
    quick = preset >= (9 if pixels <= 1280 * 720 else 8)
    group = 1 << _int(options, "hierarchical_levels", 4 if quick else 5)
    extra = {4: 1, 5: 2}.get(level, 0 if level < 4 else 7)
    count = (1 + group) * 2 + 9
    if "b" in options or _int(options, "rc"):  # with a bit rate lookahead is not cut to a group
        count = max(count, _int(options, "lookahead") + 9)
    count += (1 + group) * extra
    if _int(options, "pred_struct", 2) == 1:
        count = 14
    if _int(options, "enable_overlays"):
        count *= 2
    slow = 1 if preset >= 8 else 1.08 if preset >= 6 else 1.2 if preset >= 4 else 1.35
    stored = 3.55 if pictures.sample_bytes == 1 else 4.4  # of the samples of 4:2:0
    each = stored * 1.5 * pixels * slow + 0.55 * MIB
    coded = (1, 2, 8, 12, 16, 20)[min(level, 6) - 1]  # at the same time
    return count * each + coded * (5.2 * MIB + 2.5 * pixels) + 2 * MIB


def vp9(pictures: CodedPictures, options: Options) -> float:
    """Lookahead, references and states of blocks, and what each thread works with."""
    bordered = pictures.padded(8, 320, 320) * pictures.per_pixel * pictures.sample_bytes
    ahead = _int(options, "lag-in-frames", 25)
    threads = min(_int(options, "threads") or available_threads(), 64)
    held = (ahead + 17) * bordered + 41 * pictures.nbytes + (4.2 * threads + 2) * MIB
    return 2 * held if pictures.alpha else held  # alpha is coded by a second encoder


def vp8(pictures: CodedPictures, options: Options) -> float:
    """Lookahead, references and what one picture is coded with; threads share it."""
    bordered = pictures.padded(16, 64, 64) * pictures.per_pixel
    held = (31.5 + max(_int(options, "lag-in-frames") - 25, 0)) * bordered + 2 * MIB
    return 2 * held if pictures.alpha else held


def hardware(pictures: CodedPictures, options: Options) -> float:
    """Host memory of an encoder on a device, whose own memory is not counted; never measured.

    Every surface that FFmpeg sets up is taken to have a picture and half a picture's worth of
    packets in host memory. NVENC has 4 for each picture from one P to the next, or, with lookahead,
    as many as that looks ahead and 9 more (libavcodec/nvenc.c); p6, p7 and other encoders may look
    ahead by themselves.
    """
    ahead = max(_int(options, "rc-lookahead"), _int(options, "look_ahead_depth"))
    count = max(
        ahead + 9 + _int(options, "bf"),
        4 * (_int(options, "bf") + 1),
        _int(options, "surfaces"),
        _int(options, "async_depth"),
        LOOKAHEAD + 9,
    )
    return count * 1.5 * pictures.nbytes + DRIVER


@dataclass(frozen=True, slots=True)
class Native:
    """What one of FFmpeg's own encoders holds, in pictures."""

    base: float
    """With one thread and without B-frames."""

    per_thread: float = 0
    """More for each thread that codes slices."""

    per_b_frame: float = 0
    """More for each B-frame in a row."""

    deep: float = 2
    """Times as many bytes if samples have more than 8 bits."""


def native(held: Native, pictures: CodedPictures, options: Options) -> float:
    """Return the bytes that one of FFmpeg's own encoders holds, with threads of either kind."""
    threads = _int(options, "threads") or available_threads()
    count = held.base + held.per_thread * threads + held.per_b_frame * _int(options, "bf")
    if _int(options, "b_strategy") == 2:  # it tries its choices on smaller pictures
        count += 16
    if re.search("frame|1|3", options.get("thread_type", "")):
        count += (0.6 * held.base + 2) * threads
    plane = pictures.width * pictures.height * pictures.per_pixel
    large_contexts = MIB / 2 * _int(options, "slices", 16) * _int(options, "context")  # of ffv1
    return count * plane * (held.deep if pictures.sample_bytes == 2 else 1) + large_contexts + MIB


MODELS: dict[str, Model] = {
    "libx264": x264,
    "libx265": x265,
    "libsvtav1": svtav1,
    "libvpx-vp9": vp9,
    "libvpx": vp8,
}
NATIVE = {
    "ffv1": Native(31, deep=1.3),
    "mpeg1video": Native(21, 0.45, 1.5),
    "mpeg2video": Native(21, 0.45, 1.5),
    "mpeg4": Native(21, 0.45, 1.5),
    "flv": Native(10),
    "msmpeg4": Native(10),
    "wmv2": Native(10),
    "mjpeg": Native(22),
    "prores": Native(12.5),
    "prores_aw": Native(12.5),
    "prores_ks": Native(9.5, 0.35),
    "dnxhd": Native(21),
    "cfhd": Native(12),
    "rawvideo": Native(5),
    "png": Native(6),
    "apng": Native(7),
    "gif": Native(12),  # of RGBA: with what finds the palette
    **dict.fromkeys(("tiff", "bmp", "dpx", "targa", "qoi", "sgi", "ppm", "pgm", "pam"), Native(9)),
    "exr": Native(12),
    "libwebp": Native(16),
    "huffyuv": Native(16),
    "ffvhuff": Native(16),
    "utvideo": Native(9),
    "magicyuv": Native(7),
    "jpeg2000": Native(50),
}
LARGEST_NATIVE = NATIVE["jpeg2000"]
SLOWEST_X265 = {"rc_lookahead": "250", "bframes": "16", "ref": "16", "frame_threads": "16"}


def _params(options: Options) -> dict[str, str]:
    """Return the parameters within x264-params and its like, names with underscores."""
    found = {}
    for name in ("x264-params", "x264opts", "x265-params", "svtav1-params"):
        for param in options.get(name, "").split(":"):
            key, _, value = param.partition("=")
            found[key.strip().replace("-", "_")] = value or "1"
    return found


def _gap(pictures: CodedPictures) -> float:
    """Return the bytes that the heap may lose between two pictures that an encoder keeps.

    The place of a picture that was given, between two that are kept, is often too small for the
    next once something little lies there. Measured with small pictures, rare with large ones.
    """
    return min(pictures.nbytes, GAP_BYTES)


def _int(options: Options, name: str, default: int = 0) -> int:
    """Return the whole number that an option has; the default if it has none."""
    try:
        return int(float(options.get(name, default)))
    except (ValueError, OverflowError):
        return default


def _pool(options: Options) -> int:
    """Return how many threads libx265's pools may have: those of `pools`, else one per CPU."""
    asked = options.get("pools", "").split(",")
    if all(re.fullmatch(r"(?a)\d{1,9}", part) for part in asked):
        return max(sum(map(int, asked)), 1)
    return available_threads()


def _parallel_level() -> int:
    """Return the level of parallelism that SVT-AV1 chooses by the number of CPUs."""
    cpus = available_threads()
    return 1 + sum(cpus > most for most in (1, 2, 5, 11, 23))
