"""Each encoded frame says where it comes from: user data in an SEI message (H.264, HEVC)."""

from __future__ import annotations

from uuid import UUID

from ltxfilter.frame import Frame, Made
from ltxfilter.media.carried.captions import with_sei

UUID_OF_MARKS = UUID("6ad1a4de-5b0c-5b57-9d0e-3f0c8ab9d1e7")  # by which readers know the text
USER_DATA = 5  # payload type: user data, unregistered
MARKED_CODECS = frozenset({"h264", "hevc"})  # FFmpeg's names
LONGEST = 200  # bytes of the text; a longer one is cut


class FrameMarks:
    """Puts a text into the packet of each frame: ltxfilter's version, and who made the frame."""

    def __init__(self, codec: str, maker: str) -> None:
        """codec: one of MARKED_CODECS. maker: who says it, such as "ltxfilter 1.0"."""
        self._codec, self._maker = codec, maker
        self._frames: dict[int, str] = {}  # tick -> text of a frame that is being encoded

    def add(self, tick: int, frame: Frame) -> None:
        """Note what the frame is whose packet will have `tick` as its pts."""
        self._frames[tick] = f"{self._maker}: {_origin(frame)}"

    def into(self, tick: int | None, packet: bytes) -> bytes:
        """Return the packet of the frame at `tick` with its mark."""
        text = self._frames.pop(tick, None) if tick is not None else None
        if text is None:
            return packet
        content = UUID_OF_MARKS.bytes + text.encode()[:LONGEST]
        return with_sei(self._codec, packet, USER_DATA, content)


def _origin(frame: Frame) -> str:
    if frame.made is Made.SOURCE:
        return "source frame"
    if frame.made is Made.REPEATED:
        return "repeated source frame"
    credit = frame.credit
    if credit is None:
        return "interpolated"
    return f"interpolated by {credit.choice.engine if credit.choice else credit.engine}"
