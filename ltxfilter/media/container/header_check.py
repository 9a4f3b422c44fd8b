"""Whether a container takes what a plan puts into it: its header is written to memory, to see."""

from __future__ import annotations

import io
from dataclasses import replace

import av

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.media.container.mux import Muxer, MuxPlan
from ltxfilter.media.format_names import IMAGES


def check_header(plan: MuxPlan, name: str, content: str) -> None:
    """Write the header to memory and forget it.

    content: FFmpeg's name of the format that is written; of many files, that of each one. Raises
    OutputError if it cannot be written, OptionError.
    """
    if content == IMAGES:  # its files have no header but the encoder's
        return
    if content != plan.muxer:
        plan = replace(plan, muxer=content, muxer_options={})
    buffer = io.BytesIO()
    small = tuple(stream for stream in plan.streams if stream.kind != "attachment")  # any size fits
    try:
        Muxer(replace(plan, streams=small), buffer, None, header_only=True)
    except OptionError:  # what is asked of the tags and dispositions
        raise
    except (av.FFmpegError, ValueError, OSError) as error:
        _refuse_value(plan)
        copied = [stream for stream in plan.streams if stream.action == "copy"]
        kept = ", ".join(stream.codec for stream in copied)
        way = "another container such as .mkv can"
        if plan.muxer == "matroska" and any(stream.kind == "audio" for stream in copied):
            way = "add -an if its audio is damaged"  # anything else fits into Matroska
        raise OutputError(
            f"{name}: {plan.muxer} cannot hold {plan.settings.described}"
            f"{' with ' + kept if kept else ''}: {getattr(error, 'strerror', None) or error}; {way}"
        ) from error
    finally:
        buffer.close()  # so that PyAV forgets the trailer, which some muxers refuse an empty file


def _refuse_value(plan: MuxPlan) -> None:
    """Raise OptionError if it is an option of the user's that keeps a header from being written."""
    plain, given = replace(plan, streams=(), others=None), plan.muxer_options
    if _is_written(plain):
        return
    for name, value in given.items():
        if _is_written(replace(plain, muxer_options={k: given[k] for k in given if k != name})):
            raise OptionError(f"-{name} {value}: {plan.muxer} does not take this value")


def _is_written(plan: MuxPlan) -> bool:
    """Return True if the header of a plan can be written."""
    buffer = io.BytesIO()
    try:
        Muxer(plan, buffer, None, header_only=True)
    except (av.FFmpegError, ValueError, OSError):
        return False
    finally:
        buffer.close()
    return True
