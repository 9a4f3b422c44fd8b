"""Which streams of the input are asked for: -map with FFmpeg's stream specifiers, -an, -sn, -dn."""

from __future__ import annotations

import re
from collections.abc import Iterator

import av.container

from ltxfilter.errors import OptionError
from ltxfilter.options import OutputOptions

LETTERS = {"v": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}


def asked_for(container: av.container.InputContainer, options: OutputOptions) -> set[int]:
    """Return the indices of the streams that -map, -an, -sn and -dn leave. Raises OptionError."""
    off = {"audio": not options.audio, "subtitle": not options.subtitles, "data": not options.data}
    indices = set() if options.maps else {stream.index for stream in container.streams}
    for spec in options.maps:
        remove = spec.startswith("-")
        matching = set(_matching(container, spec.removeprefix("-").removesuffix("?"), spec))
        if not matching and not spec.endswith("?") and not remove:
            raise OptionError(f"-map {spec}: matches no stream of the input")
        indices = indices - matching if remove else indices | matching
    if options.maps and not indices and all(spec.startswith("-") for spec in options.maps):
        raise OptionError("-map: name what to take before what to leave out: -map 0 -map -0:s")
    return {index for index in indices if not off.get(container.streams[index].type, False)}


def _matching(container: av.container.InputContainer, text: str, spec: str) -> Iterator[int]:
    """Yield the indices of the streams that a specifier such as 0:a:1 or 0:m:language:eng means."""
    file, *rest = text.split(":")
    if file != "0":
        raise OptionError(f"-map {spec}: there is only input 0; write 0, 0:a, 0:a:1 or 0:3")
    streams = list(container.streams)
    if rest and rest[0] in LETTERS:
        streams = [stream for stream in streams if stream.type == LETTERS[rest[0]]]
        rest = rest[1:]
    if len(rest) == 3 and rest[0] == "m":
        streams = [stream for stream in streams if stream.metadata.get(rest[1]) == rest[2]]
    elif len(rest) == 1 and re.fullmatch(r"(?a)\d{1,9}", rest[0]):
        streams = streams[int(rest[0]) : int(rest[0]) + 1]
    elif rest:
        raise OptionError(f"-map {spec}: write 0, 0:a, 0:a:1, 0:3 or 0:m:language:eng")
    return (stream.index for stream in streams)
