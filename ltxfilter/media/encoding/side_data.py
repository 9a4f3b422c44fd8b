"""HDR10 side data as the parameters of the encoders that can write it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av

from ltxfilter.media.avframe import side_data_of

PQ, HLG = 16, 18  # transfer characteristics, H.273
HDR_TRANSFERS = (PQ, HLG)


@dataclass(frozen=True, slots=True)
class Mastering:
    """The display that a stream was graded on (SMPTE ST 2086)."""

    primaries: tuple[tuple[Fraction, Fraction], ...]
    """CIE x, y of red, green, blue."""

    white: tuple[Fraction, Fraction]
    """CIE x, y of the white point."""

    darkest: Fraction
    """Least luminance, cd/m2."""

    brightest: Fraction
    """Greatest luminance, cd/m2."""


@dataclass(frozen=True, slots=True)
class LightLevel:
    """How bright the content gets (CTA-861.3)."""

    content: int
    """Luminance of the brightest pixel, cd/m2 (MaxCLL)."""

    frame_average: int
    """Mean luminance of the brightest frame, cd/m2 (MaxFALL)."""


def mastering_of(frame: av.VideoFrame) -> Mastering | None:
    """Return the mastering display that a decoded frame carries, if it is complete."""
    data = side_data_of(frame, "MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    *numbers, has_primaries, has_luminance = struct.unpack("=22i", data[:88])
    if not has_primaries or not has_luminance or 0 in numbers[1::2]:
        return None
    x = [Fraction(*numbers[i : i + 2]) for i in range(0, 20, 2)]
    return Mastering(
        primaries=((x[0], x[1]), (x[2], x[3]), (x[4], x[5])),
        white=(x[6], x[7]),
        darkest=x[8],
        brightest=x[9],
    )


def light_level_of(frame: av.VideoFrame) -> LightLevel | None:
    """Return the content light level that a decoded frame carries."""
    data = side_data_of(frame, "CONTENT_LIGHT_LEVEL")
    return None if data is None else LightLevel(*struct.unpack("=2I", data[:8]))


def encoder_params(codec: str, frame: av.VideoFrame) -> tuple[str, list[str]] | None:
    """Return the option of encoder `codec` that takes HDR10 data, and the parameters for it.

    None if the encoder cannot write such data or the frame has none.
    """
    writers = {
        "libx264": ("x264-params", _x264),
        "libx265": ("x265-params", _x265),
        "libsvtav1": ("svtav1-params", _svtav1),
    }
    mastering, level = mastering_of(frame), light_level_of(frame)
    if codec not in writers or (mastering is None and level is None):
        return None
    option, write = writers[codec]
    return option, write(mastering, level)


def _x265(mastering: Mastering | None, level: LightLevel | None) -> list[str]:
    params = ["hdr10=1"]
    if mastering:
        params.append("master-display=" + _h265_units(mastering))
    if level:
        params.append(f"max-cll={level.content},{level.frame_average}")
    return params


def _x264(mastering: Mastering | None, level: LightLevel | None) -> list[str]:
    params = []
    if mastering:
        params.append("mastering-display=" + _h265_units(mastering))
    if level:
        params.append(f"cll={level.content},{level.frame_average}")
    return params


def _svtav1(mastering: Mastering | None, level: LightLevel | None) -> list[str]:
    params = []
    if mastering:
        red, green, blue = (_decimals(pair) for pair in mastering.primaries)
        white, light = (
            _decimals(mastering.white),
            _decimals((mastering.brightest, mastering.darkest)),
        )
        params.append(f"mastering-display=G{green}B{blue}R{red}WP{white}L{light}")
    if level:
        params.append(f"content-light={level.content},{level.frame_average}")
    return params


def _h265_units(mastering: Mastering) -> str:
    """Write chromaticities in units of 1/50000 and luminances in 1/10000 cd/m2."""

    def pair(values: tuple[Fraction, Fraction], unit: int) -> str:
        return f"({round(values[0] * unit)},{round(values[1] * unit)})"

    red, green, blue = (pair(values, 50000) for values in mastering.primaries)
    light = pair((mastering.brightest, mastering.darkest), 10000)
    return f"G{green}B{blue}R{red}WP{pair(mastering.white, 50000)}L{light}"


def _decimals(values: tuple[Fraction, Fraction]) -> str:
    return f"({float(values[0]):.6g},{float(values[1]):.6g})"
