"""What a container gets where the user names no encoder and no quality: encoder and options."""

from __future__ import annotations

from contextlib import suppress

from ltxfilter.errors import InputError, OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.carried.items import MOV_FAMILY
from ltxfilter.media.encoding.side_data import HDR_TRANSFERS
from ltxfilter.media.pixfmt import planar_name, plane_shapes

H265_MUXERS = {"mp4", "mov", "matroska", "mpegts"}
MPEGTS_CODECS = {  # what has a stream type in MPEG-TS, or an identifier that FFmpeg reads again
    "mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "vc1", "cavs", "dirac", "jpeg2000",
}  # fmt: skip
PLAYED = {*MOV_FAMILY, "webm"}  # containers that phones, browsers and televisions play
QUALITY = {  # encoder -> options where the user asked for no rate and no quality
    "libx264": {"crf": "18", "preset": "medium"},
    "libx265": {"crf": "20", "preset": "medium"},
    "libsvtav1": {"crf": "26", "preset": "8"},
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "3"},
    "libvpx": {"crf": "8", "b": "8M", "cpu-used": "3"},
    "mpeg4": {"q": "2"},
    "mpeg2video": {"q": "2"},
    "mjpeg": {"q": "2"},
    "h264_nvenc": {"rc": "vbr", "cq": "19", "preset": "p5"},
    "hevc_nvenc": {"rc": "vbr", "cq": "21", "preset": "p5"},
    "av1_nvenc": {"rc": "vbr", "cq": "25", "preset": "p5"},
}
# Options that set the quality or the bit rate, so that our own quality does not apply.
RATE_OPTIONS = {"crf", "b", "qp", "q", "qscale", "global_quality", "cq", "lossless"}


def default_options(codec: str, given: set[str]) -> dict[str, str]:
    """Return our own options of encoder `codec`; none of quality if `given` has one."""
    defaults = QUALITY.get(codec, {})
    if not RATE_OPTIONS & given:
        return dict(defaults)
    return {key: defaults[key] for key in ("preset", "row-mt", "cpu-used") if key in defaults}


def default_codec(muxer: str, info: VideoInfo, path: str, pix_fmt: str | None = None) -> str:
    """Return FFmpeg's name of the encoder for a container where the user named none.

    muxer: FFmpeg's name of the format. path: of the output, for messages. pix_fmt: what the user
    wants; None lets the encoder convert RGB in containers that players play. Raises OutputError.
    """
    roles, depth = _samples(info, pix_fmt)
    rgb = "r" in roles and not (pix_fmt is None and muxer in PLAYED)
    alpha = "a" in roles
    if muxer in ("nut", "rawvideo"):
        return "rawvideo"
    if alpha and muxer in ("mov", "matroska"):
        return "prores_ks" if muxer == "mov" else "ffv1"
    if muxer in H265_MUXERS:
        deep = depth > (8 if muxer in PLAYED else 10) or info.color.transfer in HDR_TRANSFERS
        return "libx265" if deep or rgb else "libx264"
    if muxer in MOV_FAMILY:
        return "libx264"
    if muxer == "webm":
        return "libsvtav1" if depth > 8 and not alpha else "libvpx-vp9"
    table = {"avi": "mpeg4", "flv": "libx264", "mpeg": "mpeg2video", "vob": "mpeg2video",
             "mxf": "mpeg2video", "h264": "libx264", "hevc": "libx265", "ivf": "libsvtav1",
             "asf": "mpeg4", "mpegvideo": "mpeg2video", "mpeg2video": "mpeg2video",
             "rtp_mpegts": "libx264"}  # fmt: skip
    if muxer not in table:
        raise OutputError(
            f"{path}: no usual video encoder for {muxer}; name one with -c:v, or write .mkv, "
            ".mp4, .mov, .webm or .ts"
        )
    return table[muxer]


def _samples(info: VideoInfo, pix_fmt: str | None) -> tuple[set[str], int]:
    """Return the roles of the planes to encode, and the bits of a sample."""
    layout = info.layout
    if pix_fmt is not None:
        with suppress(InputError):  # a format of hardware, or none: the encoder is asked for it
            layout = plane_shapes(planar_name(pix_fmt), info.width, info.height)
    return {shape.role for shape in layout}, layout[0].depth
