"""What may follow on a command line: which flags there are, and what values each of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import click

from ltxfilter.cli.ffmpeg_options.accepted import ACCEPTED
from ltxfilter.cli.flag import Flag
from ltxfilter.cli.flags import FLAGS
from ltxfilter.values import LEVELS

SWITCH, FILE, FOLDER, TEXT = "", "file", "folder", "text"  # what a flag takes
NAMES: Mapping[str, tuple[str, ...]] = {  # flag -> values that are often meant; others are allowed
    "fps": ("auto", "50", "60", "60000/1001", "2x", "source"),
    "deinterlace": ("auto", "on", "off"),
    "autorotate": ("0", "1"),
    "hwaccel": ("auto", "cuda", "vaapi", "videotoolbox"),
    "pattern_type": ("sequence", "glob"),
    "repeats": ("report", "smooth"),
    "device": ("auto", "cpu", "cuda"),
    "workers": ("auto",),
    "ray": ("auto",),
    "loglevel": tuple(LEVELS),
    "progress": ("-", "pipe:1", "pipe:2"),
    "f": ("nut", "yuv4mpegpipe", "rawvideo", "matroska", "mp4", "mpegts"),
    "pix_fmt": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "rgb24", "nv12"),
    "c:v": ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "h264_nvenc",
            "hevc_nvenc", "av1_nvenc"),
    "preset": ("ultrafast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    "c": ("copy",), "c:a": ("copy",), "c:s": ("copy",), "c:d": ("copy",), "c:t": ("copy",),
    "color_range": ("tv", "pc"),
    "colorspace": ("bt709", "smpte170m", "bt2020nc"),
    "color_primaries": ("bt709", "smpte170m", "bt2020"),
    "color_trc": ("bt709", "smpte2084", "arib-std-b67"),
    "movflags": ("+faststart",),
    "map": ("0", "0:v:0", "0:a", "0:s"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spelled:
    """A flag as it is typed, and what follows it."""

    spellings: tuple[str, ...]  # the usual one first
    help: str
    metavar: str  # "" for a switch
    takes: str  # SWITCH, FILE, FOLDER or TEXT
    values: tuple[str, ...] = ()  # that are offered


def words() -> list[Spelled]:
    """Return all flags of the filter, `probe` and `doctor`."""
    return [_word(flag) for flag in (*FLAGS, *ACCEPTED)]


def command_words(command: click.Command) -> list[Spelled]:
    """Return the flags of a command that has its own."""
    found = []
    for option in command.params:
        if isinstance(option, click.Option):
            metavar = "" if option.is_flag else option.human_readable_name.upper()
            takes = SWITCH if option.is_flag else TEXT
            found.append(Spelled(tuple(option.opts), option.help or "", metavar, takes))
    return found


def choices(command: click.Command) -> tuple[str, ...]:
    """Return what a command takes as its argument, if that is one of a few words."""
    for argument in command.params:
        if isinstance(argument, click.Argument) and isinstance(argument.type, click.Choice):
            return tuple(map(str, argument.type.choices))
    return ()


def _word(flag: Flag) -> Spelled:
    from ltxfilter.engines import ENGINES

    spellings = (flag.dashed, *(f"-{alias}" for alias in flag.aliases))
    values = tuple(ENGINES) if flag.name == "engine" else NAMES.get(flag.name, ())
    return Spelled(spellings, flag.help, flag.metavar, _takes(flag), values)


def _takes(flag: Flag) -> str:
    if not flag.metavar or flag.metavar == "[restart]":
        return SWITCH
    if flag.metavar.startswith("FILE"):
        return FILE
    return FOLDER if flag.metavar == "FOLDER" else TEXT
