"""Raw video whose pixel format NUT has no name for; its packets have to tell.

FFmpeg writes the tag of rgb555le then, for semi-planar formats of more than 8 bits above all, which
is what hardware decoders hand out.
"""

from __future__ import annotations

import logging
from typing import Any

import av
import numpy as np

from ltxfilter.errors import InputError
from ltxfilter.media.pixfmt import planar_name, plane_shapes

log = logging.getLogger("ltxfilter.media")

UNNAMED = "RGB\x0f"  # NUT's tag of rgb555le
# (format, its low bits that are zero); the first that fits is taken. p010le comes out of hardware
# so often that it is believed without them, too: swscale fills them.
CANDIDATES = (("p010le", 6), ("p012le", 4), ("p210le", 6), ("p410le", 6), ("p010le", 0))


def settle_pix_fmt(context: Any, packet: av.Packet[Any], name: str) -> None:
    """Give a decoder that is not open the pixel format that the first packet has.

    context: of the video. name: what messages call the input. Raises InputError if it is unclear.
    """
    if context.name != "rawvideo" or context.codec_tag != UNNAMED or not packet.size:
        return
    if not context.width or not context.height:
        return  # a header that cannot be: the decoder says so
    pix_fmt = _pix_fmt_of(context.width, context.height, packet)
    if pix_fmt is None:
        raise InputError(
            f"{name}: NUT has no name for its pixel format; name another in the ffmpeg before it, "
            "such as -pix_fmt yuv420p10le or -pix_fmt yuv422p"
        )
    if pix_fmt == "rgb555le":
        return
    log.warning(
        "%s: NUT has no name for its pixel format; taken as %s (another -pix_fmt in the ffmpeg "
        "before it avoids that)",
        name,
        pix_fmt,
    )
    context.codec_tag = "\0\0\0\0"
    context.pix_fmt = pix_fmt


def _pix_fmt_of(width: int, height: int, packet: av.Packet[Any]) -> str | None:
    """Return the format of which `packet` is one picture; None if that is unclear."""
    words = np.frombuffer(bytes(packet), "<u2", count=packet.size // 2)
    used = int(np.bitwise_or.reduce(words))
    if packet.size == 2 * width * height and used < 1 << 15:
        return "rgb555le"
    for name, spare in CANDIDATES:
        layout = plane_shapes(planar_name(name), width, height)
        if packet.size == sum(shape.nbytes for shape in layout) and used % (1 << spare) == 0:
            return name
    return None
