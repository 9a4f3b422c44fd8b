"""Names that stand for many files: numbered pictures (out/%06d.png), playlists and their segments.

A name is taken for a pattern only where no file has that very name.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from glob import escape, glob
from pathlib import Path

from ltxfilter.media.format_names import IMAGE_SUFFIXES, IMAGES
from ltxfilter.options import InputOptions, OutputOptions
from ltxfilter.values import scheme_of

NUMBER = re.compile(r"%(?:0?(\d+))?d")  # as FFmpeg reads it; %% stands for %
FIRST_LOOKED_FOR = 5  # numbers from 0 on with which FFmpeg looks for a first picture
SEGMENTS = ("segment", "stream_segment", "ssegment")
MANY_FILES = (IMAGES, "hls", "dash", *SEGMENTS)  # FFmpeg's formats that write more than one file
PLAYLISTS = {".m3u8": "hls", ".mpd": "dash"}  # ending -> format
DASH_NAMES = {  # option -> how the dash muxer names its files
    "init_seg_name": "init-stream$RepresentationID$.$ext$",
    "media_seg_name": "chunk-stream$RepresentationID$-$Number%05d$.$ext$",
}


def is_pattern(name: str) -> bool:
    """Return True for a name with one %d or %06d."""
    return len(NUMBER.findall(name.replace("%%", ""))) == 1


def as_sequence(options: InputOptions) -> InputOptions:
    """Return `options`, with FFmpeg's format of numbered pictures if they name such.

    Where -f names it, a name with * or ? is a glob pattern, as the shell knows them.
    """
    if scheme_of(options.path) is not None:  # whose %20d is none
        return options
    if options.format is None and is_pattern(options.path) and not os.path.exists(options.path):  # noqa: PTH110
        return replace(options, format=IMAGES)
    if options.format == IMAGES and re.search(r"[*?]", options.path):
        return replace(options, demuxer={"pattern_type": "glob", **options.demuxer})
    return options


def input_files(options: InputOptions) -> list[str]:
    """Return the names of all files that an input reads, as far as its name tells."""
    options = as_sequence(options)
    if options.format != IMAGES:
        return [options.path]
    if options.demuxer.get("pattern_type") == "glob":
        return glob(options.path)  # noqa: PTH207  (a Path takes no absolute pattern)
    return [path for _, path in numbered(options.path)] or [options.path]


def no_pictures(options: InputOptions) -> str:
    """Say why no picture of a pattern was found."""
    if options.demuxer.get("pattern_type") == "glob":
        return "no file matches it"
    found = numbered(options.path)
    if found:
        number, path = found[0]
        return f"its first picture is {Path(path).name}; add -start_number {number} before -i"
    return f"no such file, with any number for {_parts(Path(options.path).name)[1]}"


def many_files(output: OutputOptions, muxer: str | None = None) -> list[str] | None:
    """Return the files of an output of many that exist already; None for one of a single file.

    muxer: FFmpeg's name of its format, where it is known.
    """
    path, folder = output.path, Path(output.path).parent
    suffix = Path(path).suffix.lower()
    if scheme_of(path) is not None:
        return None
    kind = muxer or output.format or PLAYLISTS.get(suffix)
    if kind is None and suffix in IMAGE_SUFFIXES and is_pattern(path):
        kind = IMAGES
    if kind not in MANY_FILES:
        return None
    patterns: list[str] = []
    files = [path]
    if kind in SEGMENTS:
        files += filter(None, [output.muxer.get("segment_list")])
    elif kind == "hls":
        ending = ".m4s" if output.muxer.get("hls_segment_type") == "fmp4" else ".ts"
        stem = str(Path(path).with_suffix("")).replace("%", "%%")
        patterns.append(output.muxer.get("hls_segment_filename", f"{stem}%d{ending}"))
        if ending == ".m4s":
            files.append(str(folder / output.muxer.get("hls_fmp4_init_filename", "init.mp4")))
    elif kind == "dash":
        for option, usual in DASH_NAMES.items():
            name = re.sub(r"\$[^$]*\$", "$", output.muxer.get(option, usual))
            found = glob(str(Path(escape(str(folder))) / escape(name).replace("$", "*")))  # noqa: PTH207
            files += sorted(found)
    files += [file for pattern in (path, *patterns) for _, file in numbered(pattern)]
    return [file for file in dict.fromkeys(files) if os.path.lexists(file)]


def numbered(pattern: str) -> list[tuple[int, str]]:
    """Return number and name of each file that a pattern means, in order of the numbers."""
    folder, name = os.path.split(pattern)
    before, number, after = _parts(name)
    if not number:
        return []
    width = int(number[2:-1] or 0) if number.startswith("%0") else 0
    wanted = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    found = []
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            match = wanted.fullmatch(entry.name)
            if match and match[1] == f"{int(match[1]):0{width}d}":
                found.append((int(match[1]), str(Path(folder, entry.name))))
    return sorted(found)


def _parts(name: str) -> tuple[str, str, str]:
    """Return what stands before the number of a pattern, the number's %d, what stands after it."""
    for match in re.finditer(r"%%|" + NUMBER.pattern, name):
        if match.group(0) != "%%":
            before, after = name[: match.start()], name[match.end() :]
            return before.replace("%%", "%"), match.group(0), after.replace("%%", "%")
    return name.replace("%%", "%"), "", ""
