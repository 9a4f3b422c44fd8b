"""What the first bytes of a stream say it is: the formats we let libav open, and what we refuse."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from ltxfilter.media.format_names import WEBP, Y4M

SNIFF_BYTES = 376  # two MPEG-TS packets

# First bytes that no raw picture begins with by chance -> FFmpeg's demuxer.
MAGIC = (
    (b"YUV4MPEG2 ", Y4M),
    (b"nut/multimedia container", "nut"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"FLV\x01", "flv"),
    (b"DKIF\x00\x00", "ivf"),
    (b"OggS\x00", "ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
    (b"\x12\x00\x0a", "obu"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx"})
H264_FIRST = frozenset({0x06, 0x09, 0x27, 0x47, 0x67})  # SEI, access unit delimiter, SPS
HEVC_FIRST = frozenset({0x40, 0x42, 0x46, 0x4E})  # VPS, SPS, access unit delimiter, SEI

PLAYLIST = "a playlist"

# First bytes of what people pass by mistake -> what to call it.
FOREIGN = (
    (b"#EXTM3U", PLAYLIST),
    (b"ffconcat", PLAYLIST),
    (b"<MPD", PLAYLIST),
    (b"[playlist]", PLAYLIST),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"ID3", "sound (MP3)"),
    (b"fLaC", "sound (FLAC)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b\x08", "gzip data"),
    (b"\x7fELF", "a program"),
)


def identify(prefix: bytes) -> str | None:
    """Return FFmpeg's demuxer for a stream that begins with `prefix`; None if it is not certain."""
    for magic, kind in MAGIC:
        if prefix.startswith(magic):
            return kind
    for test, kind in TESTS:
        if test(prefix):
            return kind
    return None


def foreign(prefix: bytes) -> str | None:
    """Return in a few words what `prefix` begins if that is surely not video; None if it may be."""
    for magic, what in FOREIGN:
        if prefix.startswith(magic):
            return what
    if prefix.startswith(b"RIFF") and prefix[8:12] == b"WAVE":
        return "sound (WAV)"
    if prefix.startswith(b"RIFF") and prefix[8:12] == b"WEBP":
        return "a WebP picture"
    return "text" if _is_text(prefix) else None


def moov_comes_last(prefix: bytes) -> bool:
    """Return True if an mp4's samples come before its index: a pipe cannot go back for them."""
    position = 0
    while position + 8 <= len(prefix):
        size = int.from_bytes(prefix[position : position + 4], "big")
        box = prefix[position + 4 : position + 8]
        if box == b"mdat":
            return True
        if box in (b"moov", b"moof") or size < 8:
            return False
        position += size
    return False


def _is_text(prefix: bytes) -> bool:
    """Return True for UTF-8 with blanks or line feeds, and nothing else that does not print."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(prefix)  # its end may be cut off
    except UnicodeDecodeError:
        return False
    printable = all(char.isprintable() or char in "\n\r\t\f" for char in text)
    return printable and ("\n" in text or " " in text) and len(set(text)) > 4


def _is_apng(prefix: bytes) -> bool:
    """Look for the chunk that tells an animation from a picture; it comes before the first data."""
    return prefix.startswith(b"\x89PNG") and b"acTL" in prefix


def _is_animated_webp(prefix: bytes) -> bool:
    """Look for the flag that tells an animation from a picture."""
    extended = prefix.startswith(b"RIFF") and prefix[8:16] == b"WEBPVP8X"
    return extended and len(prefix) > 20 and bool(prefix[20] & 0x02)


def _is_mov(prefix: bytes) -> bool:
    return prefix[4:8] in BOXES and prefix[:4] != b"\0\0\0\0"


def _is_avi(prefix: bytes) -> bool:
    return prefix.startswith(b"RIFF") and prefix[8:12] == b"AVI "


def _is_mpegts(prefix: bytes) -> bool:
    """Look for two packets, of 188 bytes or with a 4-byte time code before each (M2TS)."""
    return _ts_packets(prefix, 0, 188) or _ts_packets(prefix, 4, 192)


def _ts_packets(prefix: bytes, first: int, step: int) -> bool:
    heads = [prefix[at : at + 4] for at in (first, first + step)]
    return all(
        len(head) == 4 and head[0] == 0x47 and not head[1] & 0x80 and head[3] & 0x30
        for head in heads
    )


def _after_start_code(prefix: bytes) -> bytes:
    for code in (b"\0\0\0\1", b"\0\0\1"):
        if prefix.startswith(code):
            return prefix[len(code) :]
    return b""


def _is_h264(prefix: bytes) -> bool:
    unit = _after_start_code(prefix)
    return len(unit) > 1 and unit[0] in H264_FIRST and not _is_hevc(prefix)


def _is_hevc(prefix: bytes) -> bool:
    unit = _after_start_code(prefix)
    return len(unit) > 1 and unit[0] in HEVC_FIRST and unit[1] == 1


TESTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (_is_apng, "apng"),
    (_is_animated_webp, WEBP),
    (_is_mov, "mov"),
    (_is_avi, "avi"),
    (_is_mpegts, "mpegts"),
    (_is_hevc, "hevc"),
    (_is_h264, "h264"),
)
