"""What becomes of each stream of the input: it is copied, or left out for a stated reason."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from typing import Any

import av
import av.container
import av.stream

from ltxfilter.errors import OutputError
from ltxfilter.media.base import NOT_ASKED, StreamPlan
from ltxfilter.media.carried import timecode
from ltxfilter.media.container.demux import is_cover, is_thumbnails
from ltxfilter.media.container.stream_choice.stream_specifiers import asked_for
from ltxfilter.media.format_names import IMAGES
from ltxfilter.media.many_files.muxers import content_format
from ltxfilter.media.pyav_compat import open_output
from ltxfilter.options import OutputOptions

log = logging.getLogger("ltxfilter.media")

# What an MPEG transport stream can say of its streams; its muxer takes anything.
TS_CODECS = {
    "aac", "aac_latm", "ac3", "dts", "dca", "eac3", "mp1", "mp2", "mp3", "opus", "s302m", "truehd",
    "pcm_bluray", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "h264", "hevc", "mpeg1video",
    "mpeg2video", "mpeg4", "vvc",
}  # fmt: skip
# Audio whose decoders need numbers (block_align, bits of a sample) that NUT does not keep.
LOST_IN_NUT = {
    "adpcm_g726", "adpcm_g726le", "adpcm_ima_wav", "atrac3", "atrac3p", "cook", "ra_288", "sipr",
    "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice", "xma1", "xma2",
}  # fmt: skip
CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".avi": "avi", ".wmv": "asf",
              ".nut": "nut", ".ts": "mpegts"}  # fmt: skip  # suffix -> FFmpeg's muxer
COVER_MUXERS = ("matroska", "mp4", "ipod")
COVER_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
PICTURES_ONLY = (IMAGES, "gif", "apng", "webp", "avif")  # formats that nobody expects to sound
PICTURES = "holds nothing but pictures"
STILL = "it holds one still picture; -map 0 keeps it"
CHAPTER_TITLES = "it holds the titles of the chapters, which are written anew"
TIMECODE_TRACK = "it holds the timecode, which is written anew"
BY_FFMPEG = "; ffmpeg, unlike PyAV, may add it: ffmpeg -i OUTPUT -i INPUT -map 0 -map 1:a -c copy"
WRITTEN_ANEW = (CHAPTER_TITLES, TIMECODE_TRACK)


def plan_streams(
    container: av.container.InputContainer,
    video: av.VideoStream,
    options: OutputOptions,
    muxer: str,
    stills: Collection[int] = (),
) -> tuple[StreamPlan, ...]:
    """Say what becomes of each stream of `container` in a file of FFmpeg's format `muxer`.

    video: the stream that is interpolated. stills: indices of other video streams that hold a
    single picture; they go along only where -map names streams. The plan has the output's order,
    which is that of -map if there is one; what is left out comes after it. Raises OptionError for a
    -map that cannot be read or matches nothing.
    """
    asked = asked_for(container, options)
    trial = open_output(io.BytesIO(), format=content_format(muxer, options))
    plans = []
    for index in _ordered(container, video, options, asked):
        stream = container.streams[index]
        kind, codec, way = str(stream.type), codec_name(stream), ""
        if index == video.index:
            action, reason = "interpolate", ""
        elif index not in asked:
            action, reason = "drop", NOT_ASKED
        elif index in stills and not options.maps:
            action, reason = "drop", STILL
        elif muxer in PICTURES_ONLY:
            action, reason = "drop", f"{muxer} {PICTURES}"
        else:
            reason = _obstacle(stream, trial, muxer, bool(container.chapters()))
            action = "drop" if reason else "copy"
            if reason and kind == "audio":
                way = " or ".join(_holders(stream)) or "another container"
        plans.append(StreamPlan(stream.index, kind, codec, action, reason, way))
    return tuple(plans)


def _ordered(
    container: av.container.InputContainer,
    video: av.VideoStream,
    options: OutputOptions,
    asked: list[int],
) -> list[int]:
    """Return the indices of all streams in the order in which they are written."""
    indices = [stream.index for stream in container.streams]
    if not options.maps:
        return indices
    first = asked if video.index in asked else [video.index, *asked]
    return [*first, *(index for index in indices if index not in first)]


def codec_name(stream: av.stream.Stream) -> str:
    """Return what messages call the codec of a stream."""
    context: Any = stream.codec_context  # None where FFmpeg has no decoder
    if context is not None:
        return str(context.codec.canonical_name)
    return getattr(stream, "name", None) or "unknown"


def refuse_lost_audio(plans: tuple[StreamPlan, ...], output: str) -> None:
    """Warn of streams that `output` cannot hold. Raises OutputError if one of them is audio."""
    for plan in plans:
        if plan.action != "drop" or plan.reason in (NOT_ASKED, *WRITTEN_ANEW):
            continue
        if plan.kind == "audio" and not plan.reason.endswith(PICTURES):
            later = BY_FFMPEG if plan.reason.startswith("matroska") else ""
            raise OutputError(
                f"{output}: {plan.reason} (stream {plan.index}); add -an to leave it out, or "
                f"write {plan.way}{later}"
            )
        log.warning(
            "%s: stream %d (%s, %s) is left out: %s",
            output,
            plan.index,
            plan.kind,
            plan.codec,
            plan.reason,
        )


def _obstacle(
    stream: av.stream.Stream, trial: av.container.OutputContainer, muxer: str, chapters: bool
) -> str:
    """Return why `muxer` cannot hold a stream, or "" if it can.

    trial: an output of that format. chapters: True if the input has any.
    """
    kind, codec = stream.type, codec_name(stream)
    if kind == "attachment":
        return "" if muxer == "matroska" else f"{muxer} cannot hold attachments"
    if kind not in ("video", "audio", "subtitle"):
        if kind == "data" and timecode.KEY in stream.metadata:
            return TIMECODE_TRACK
        titles = chapters and codec == "bin_data"
        return CHAPTER_TITLES if titles else f"{kind} streams are not carried"
    if is_cover(stream):
        known = muxer in COVER_MUXERS and codec in COVER_TYPES
        return "" if known else f"{muxer} cannot hold a cover picture"
    if is_thumbnails(stream) or not _holds(trial, stream):
        what = "thumbnails of another video" if is_thumbnails(stream) else f"{codec} {kind}"
        return f"{muxer} cannot hold {what}"
    return ""


def _holds(trial: av.container.OutputContainer, stream: av.stream.Stream) -> bool:
    """Return True if a container of the kind of `trial` has a place for a stream's codec."""
    muxer, codec = trial.format.name, codec_name(stream)
    if (muxer == "mpegts" and codec not in TS_CODECS) or (muxer == "nut" and codec in LOST_IN_NUT):
        return False
    try:
        trial.add_stream_from_template(stream, opaque=True)
    except (ValueError, av.FFmpegError):
        return False
    return True


def _holders(stream: av.stream.Stream) -> list[str]:
    """Return the endings of the usual containers that a stream can be copied into."""
    return [
        suffix
        for suffix, muxer in CONTAINERS.items()
        if _holds(open_output(io.BytesIO(), format=muxer), stream)
    ]
