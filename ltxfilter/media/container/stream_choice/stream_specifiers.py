"""Which streams of the input are asked for: -map with FFmpeg's stream specifiers, -an, -sn, -dn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import av.container
import av.stream

from ltxfilter.errors import OptionError
from ltxfilter.media.container.demux import is_cover, is_thumbnails
from ltxfilter.media.container.stream_choice.programs import programs_of
from ltxfilter.options import OutputOptions

LETTERS = {"v": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}
FORMS = (
    "write 0, 0:a, 0:v:1, 0:V, 0:3, 0:#0x101 or 0:i:257 (a stream's id), 0:p:2:a (of a program), "
    "0:m:language:eng, 0:disp:default or 0:u"
)


def asked_for(container: av.container.InputContainer, options: OutputOptions) -> list[int]:
    """Return the indices of the streams that -map, -an, -sn and -dn leave, in the order of -map.

    Raises OptionError.
    """
    off = {"audio": not options.audio, "subtitle": not options.subtitles, "data": not options.data}
    indices = [stream.index for stream in container.streams]
    if options.maps:
        groups, _ = mapped(container, options.maps)
        indices = list(dict.fromkeys(index for group in groups for index in group))
    return [index for index in indices if not off.get(container.streams[index].type, False)]


def mapped(
    container: av.container.InputContainer, maps: Sequence[str]
) -> tuple[list[list[int]], set[int]]:
    """Return the indices that each -map takes, without what later ones leave out; and the latter.

    Raises OptionError for what cannot be read, or matches nothing and does not end with "?".
    """
    taken: list[list[int]] = []
    left_out: set[int] = set()
    for spec in maps:
        remove = spec.startswith("-")
        matching = matched(container, spec.removeprefix("-").removesuffix("?"), spec)
        if not matching and not spec.endswith("?") and not remove:
            raise OptionError(f"-map {spec}: matches no stream of the input")
        if remove:
            taken = [[index for index in each if index not in matching] for each in taken]
            left_out |= set(matching)
        else:
            taken.append(matching)
            left_out -= set(matching)
    if maps and all(spec.startswith("-") for spec in maps):
        raise OptionError("-map: name what to take before what to leave out: -map 0 -map -0:s")
    return taken, left_out


def matched(container: av.container.InputContainer, text: str, spec: str) -> list[int]:
    """Return the indices of the streams that `text` means, such as 0:a:1 or 0:m:language:eng.

    spec: the whole of -map, for messages. Raises OptionError.
    """
    if text.startswith("["):
        raise OptionError(f"-map {spec}: names the output of a filter, which ltxfilter has not")
    file, *words = text.split(":")
    if file != "0":
        raise OptionError(f"-map {spec}: there is only input 0; {FORMS}")
    streams = list(container.streams)
    while words:
        streams, words = _narrowed(container, streams, words, spec)
    return [stream.index for stream in streams]


def _narrowed(
    container: av.container.InputContainer,
    streams: list[av.stream.Stream],
    words: list[str],
    spec: str,
) -> tuple[list[av.stream.Stream], list[str]]:
    """Apply the first condition of `words` to `streams`; return what is left of both."""
    first, *rest = words
    if re.fullmatch(r"(?a)\d{1,9}", first):
        return streams[int(first) : int(first) + 1], rest
    if first in SIMPLE:
        return list(filter(SIMPLE[first], streams)), rest
    if first.startswith("#"):
        first, rest = "i", [first[1:], *rest]
    if not rest or first not in ("i", "p", "m", "disp"):
        raise OptionError(f"-map {spec}: {FORMS}")
    if first == "m":
        return list(_tagged(streams, rest)), []
    value, *rest = rest
    if first == "disp":
        return _disposed(streams, value, spec), rest
    wanted = _number(value, spec)
    ids = {wanted} if first == "i" else _program(container, wanted, spec)
    return [stream for stream in streams if stream.id in ids], rest


def _number(text: str, spec: str) -> int:
    """Read 257 or 0x101. Raises OptionError."""
    try:
        return int(text, 0)
    except ValueError:
        raise OptionError(f"-map {spec}: {text!r} is no number; {FORMS}") from None


def _tagged(streams: list[av.stream.Stream], words: list[str]) -> Iterator[av.stream.Stream]:
    """Yield the streams that have a tag, or have it with a certain value. words: KEY[:VALUE]."""
    key, value = words[0].lower(), ":".join(words[1:])
    for stream in streams:
        tags = {name.lower(): text for name, text in stream.metadata.items()}
        if key in tags and (len(words) == 1 or tags[key] == value):
            yield stream


def _disposed(streams: list[av.stream.Stream], text: str, spec: str) -> list[av.stream.Stream]:
    """Return the streams with all dispositions of `text`, such as default+forced."""
    wanted = av.stream.Disposition(0)
    for name in text.split("+"):
        try:
            wanted |= av.stream.Disposition[name]
        except KeyError:
            known = ", ".join(str(each.name) for each in av.stream.Disposition)
            raise OptionError(f"-map {spec}: {name!r} is none of {known}") from None
    return [stream for stream in streams if int(stream.disposition) & wanted == wanted]


def _program(container: av.container.InputContainer, wanted: int, spec: str) -> set[int]:
    """Return the ids of the streams of a program of a transport stream. Raises OptionError."""
    programs = programs_of(container)
    if programs is None:
        raise OptionError(
            f"-map {spec}: programs are known of a transport stream in a file only; name a stream "
            "by its id, as 0:#0x101"
        )
    if wanted not in programs:
        known = ", ".join(map(str, sorted(programs))) or "none"
        raise OptionError(f"-map {spec}: the input has no program {wanted}; it has {known}")
    return programs[wanted]


def _is_usable(stream: av.stream.Stream) -> bool:
    """Return True if FFmpeg knows how to decode a stream, and its size or sample rate."""
    context: Any = stream.codec_context  # None where FFmpeg has no decoder
    if context is None:
        return False
    if stream.type == "video":
        return bool(context.width and context.height)
    return stream.type != "audio" or bool(context.sample_rate)


def _is_video_proper(stream: av.stream.Stream) -> bool:
    """Return True for video that is neither a cover nor thumbnails."""
    return stream.type == "video" and not is_cover(stream) and not is_thumbnails(stream)


def _is_of(kind: str) -> Callable[[av.stream.Stream], bool]:
    """Return what tells streams of one kind."""
    return lambda stream: stream.type == kind


SIMPLE: dict[str, Callable[[av.stream.Stream], bool]] = {
    **{letter: _is_of(kind) for letter, kind in LETTERS.items()},
    "V": _is_video_proper,
    "u": _is_usable,
}
