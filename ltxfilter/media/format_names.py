"""The formats that ltxfilter reads and writes without libav, and the names by which they are asked.

Light: imports nothing, so that a command line can be checked with it.
"""

from __future__ import annotations

Y4M = "yuv4mpegpipe"  # FFmpeg's name
RAW = "rawvideo"  # FFmpeg's name
WEBP = "webp"  # FFmpeg's name of what it writes: an animation
IMAGES = "image2"  # FFmpeg's name: a picture per file, numbered
IMAGE_SUFFIXES = frozenset(  # of numbered pictures
    {
        ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".exr", ".dpx", ".bmp", ".webp", ".jp2", ".j2k",
        ".tga", ".sgi", ".qoi", ".ppm", ".pgm", ".pam", ".pnm",
    }
)  # fmt: skip
# Demuxers that read one file and nothing else. Missing on purpose: playlists, concat, image
# sequences, devices, network protocols, and `tty`, which takes any text for video.
DEMUXERS = frozenset(
    {
        "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "nut", "yuv4mpegpipe",
        "ivf", "ogg", "asf", "wtv", "mxf", "gxf", "dv", "rm", "nsv", "h264", "hevc", "vvc",
        "av1", "obu", "evc", "m4v", "mpegvideo", "mjpeg", "mjpeg_2000", "h263", "h261",
        "vc1", "vc1test", "dirac", "dnxhd", "cavsvideo", "avs2", "avs3", "rawvideo", "gif",
        "apng", "swf", "roq", "bink", "smk", "flic", "nuv", "pmp", "pva", "thp", "mp3",
        "wav", "w64", "flac", "aac", "ac3", "eac3", "dts", "dtshd", "truehd", "aiff", "caf",
        "au", "amr", "ape", "tta", "wv", "opus",
    }
)  # fmt: skip
RAW_FORMATS = (Y4M, RAW)  # in which nothing is encoded

ALIASES = {"y4m": Y4M, "raw": RAW}  # what -f takes beside FFmpeg's names
RAW_SUFFIXES = {".y4m": Y4M, ".yuv": RAW, ".rgb": RAW, ".raw": RAW}  # of file names -> format

STDIN_NAMES = frozenset({"-", "pipe:", "pipe:0"})
STDOUT_NAMES = frozenset({"-", "pipe:", "pipe:1"})


def format_name(given: str | None) -> str | None:
    """Return FFmpeg's name of the format that -f names; None if it names none."""
    return ALIASES.get(given, given) if given else None
