"""How many frames a decoder holds at most: fitted to measurements with 1 to 64 threads."""

from __future__ import annotations

from dataclasses import dataclass

# The pictures that a level lets a decoder keep are counted in macroblocks of 256 pixels (H.264,
# table A-1) or by the largest picture (H.265, table A.8).
H264_LEVELS = {
    10: 396, 9: 396, 11: 900, 12: 2376, 13: 2376, 20: 2376, 21: 4752, 22: 8100, 30: 8100,
    31: 18000, 32: 20480, 40: 32768, 41: 32768, 42: 34816, 50: 110400, 51: 184320, 52: 184320,
    60: 696320, 61: 696320, 62: 696320,
}  # fmt: skip
H265_LEVELS = {
    30: 36864, 60: 122880, 63: 245760, 90: 552960, 93: 983040, 120: 2228224, 123: 2228224,
    150: 8912896, 153: 8912896, 156: 8912896, 180: 35651584, 183: 35651584, 186: 35651584,
}  # fmt: skip
MOST_PICTURES = 16  # that any level of the two lets a decoder keep


@dataclass(frozen=True, slots=True)
class Held:
    """What a decoder holds, in frames."""

    base: float
    per_thread: float


DECODERS = {  # by FFmpeg's name of the codec
    "h264": Held(13.5, 2.1),  # beside the pictures that its level lets it keep
    "hevc": Held(9, 1.95),  # likewise
    "av1": Held(20, 0.75),
    "vp9": Held(5, 1.4),
    "vp8": Held(5.5, 1.15),
    "mpeg1video": Held(5.5, 0.1),
    "mpeg2video": Held(5.5, 0.1),
    "mpeg4": Held(6, 2.3),
    "mjpeg": Held(7.5, 0.1),
    "prores": Held(3.5, 1.1),
    "ffv1": Held(4.5, 1.4),
    "rawvideo": Held(4, 0),
}
UNKNOWN = Held(MOST_PICTURES + 13.5, 2.3)  # as much as the largest of them


def held_frames(codec: str, threads: int, level: int | None, size: tuple[int, int]) -> float:
    """Return how many frames a decoder holds at most.

    codec: FFmpeg's name. threads: that decode. level: of H.264 or H.265, as FFmpeg numbers it; None
    if it is unknown. size: width and height, pixels.
    """
    held = DECODERS.get(codec, UNKNOWN)
    kept = {"h264": _h264_pictures, "hevc": _h265_pictures}.get(codec)
    pictures = 0 if kept is None else kept(level, size)
    return held.base + held.per_thread * threads + pictures


def _h264_pictures(level: int | None, size: tuple[int, int]) -> int:
    blocks = -(-size[0] // 16) * -(-size[1] // 16)
    most = H264_LEVELS.get(level or 0)
    return MOST_PICTURES if most is None else max(min(most // blocks, MOST_PICTURES), 1)


def _h265_pictures(level: int | None, size: tuple[int, int]) -> int:
    most, pixels = H265_LEVELS.get(level or 0), size[0] * size[1]
    if most is None:
        return MOST_PICTURES
    for quarters, pictures in ((1, 16), (2, 12), (3, 8)):
        if pixels <= most * quarters / 4:
            return pictures
    return 6
