"""Which of FFmpeg's formats an output has, and what the files of it hold."""

from __future__ import annotations

import io
from pathlib import Path

import av

from ltxfilter.errors import OutputError
from ltxfilter.media.format_names import IMAGES
from ltxfilter.media.many_files.names import MANY_FILES, SEGMENTS, is_pattern
from ltxfilter.media.network.protocols import ending_name
from ltxfilter.media.pyav_compat import open_output
from ltxfilter.options import OutputOptions
from ltxfilter.values import scheme_of, shown_name

MANY_NAMES = {"strftime", "update", "frame_pts"}  # options of image2 that name files otherwise


def muxer_name(options: OutputOptions, given: str | None) -> str:
    """Return FFmpeg's name of the container to write. Raises OutputError."""
    name = given or options.format
    if name:
        try:
            found = av.ContainerFormat(name, "w").name
        except ValueError:
            raise OutputError(f"-f {name}: FFmpeg writes no such format") from None
    else:
        found = _guessed(options.path)
    if found in MANY_FILES and options.path == "-":
        raise OutputError(f"-f {found}: writes many files; name them, not standard output")
    if found in MANY_FILES and scheme_of(options.path) is not None:
        raise OutputError(
            f"{options.shown}: {found} writes many files, which go to a folder only; let ffmpeg "
            f"send them: ltxfilter ... -f nut - | ffmpeg -i - ... {options.shown}"
        )
    if found == IMAGES and not is_pattern(options.path) and not MANY_NAMES & options.muxer.keys():
        path = Path(options.path)
        numbered = path.with_name(f"{path.stem}%06d{path.suffix}")
        raise OutputError(f"{path}: is one picture; name them by number: {numbered}")
    return found


def content_format(muxer: str, options: OutputOptions) -> str:
    """Return FFmpeg's name of the format of the files that a muxer of segments writes."""
    if muxer == "hls":
        return "mp4" if options.muxer.get("hls_segment_type") == "fmp4" else "mpegts"
    if muxer == "dash":
        return "webm" if options.muxer.get("dash_segment_type") == "webm" else "mp4"
    if muxer in SEGMENTS:
        name = options.muxer.get("segment_format")
        return av.ContainerFormat(name, "w").name if name else _guessed(options.path)
    return muxer


def _guessed(path: str) -> str:
    """Return FFmpeg's name of the format that a name asks for. Raises OutputError."""
    try:
        with open_output(_Named(ending_name(path))) as container:
            return container.format.name
    except ValueError:
        raise OutputError(
            f"{shown_name(path)}: its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, "
            "or -f"
        ) from None


class _Named(io.BytesIO):
    """A file in memory with a name, from which libav guesses the format."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
