"""Options of ffmpeg's command lines that are accepted, since what they ask for is what happens."""

from __future__ import annotations

from collections.abc import Callable

from ltxfilter.cli.flag import Flag, Side


def _accepted(name: str, metavar: str, text: str, *aliases: str) -> Flag:
    return Flag(name, metavar, text, Side.ACCEPTED, aliases)


_QUEUES = "Queues are bounded by --memory."
_ON_GPU = "Frames are interpolated in memory, wherever they are decoded."
ACCEPTED = (
    _accepted("hide_banner", "", "There is no banner."),
    _accepted("nostdin", "", "Keys are never read."),
    _accepted("max_muxing_queue_size", "N", _QUEUES),
    _accepted("muxing_queue_data_threshold", "BYTES", _QUEUES),
    _accepted("thread_queue_size", "N", _QUEUES),
    _accepted("filter_threads", "N", "There are no filters.", "filter_complex_threads"),
    _accepted("sws_flags", "FLAGS", "Pictures are never scaled.", "sws_dither"),
    _accepted("autoscale", "[0|1]", "Pictures are never scaled, but for a source that changes."),
    _accepted("hwaccel_output_format", "NAME", _ON_GPU),
    _accepted("init_hw_device", "SPEC", _ON_GPU, "vaapi_device", "qsv_device"),
    _accepted("filter_hw_device", "NAME", _ON_GPU),
    _accepted("extra_hw_frames", "N", _ON_GPU),
    _accepted("accurate_seek", "", "Reading starts exactly at -ss."),
    _accepted("ignore_unknown", "", "Streams of unknown kind are named and left out."),
    _accepted("stats_period", "SECONDS", "Progress is shown twice a second."),
    _accepted("benchmark", "", "The closing lines say how long it took.", "benchmark_all"),
    _accepted("reinit_filter", "[0|1]", "There are no filters."),
    _accepted("auto_conversion_filters", "", "Formats are converted where that is needed."),
    _accepted("find_stream_info", "", "Streams are looked into."),
    _accepted("start_at_zero", "", "The output starts at 0."),
    _accepted("itsoffset", "0", "Times are not shifted."),
    _accepted("stream_loop", "0", "The input is read once."),
    _accepted("seek_timestamp", "0", "-ss counts from the start of the input."),
    _accepted("fps_mode", "MODE", "cfr, and auto; vfr and passthrough with --fps source.", "vsync"),
)


def _only(*allowed: str) -> Callable[[str, str], bool]:
    def is_met(value: str, fps: str) -> bool:  # noqa: ARG001
        return value in allowed

    return is_met


def _is_mode_met(value: str, fps: str) -> bool:
    """Return True if the times that -fps_mode or -vsync asks for are the output's."""
    if value in ("auto", "-1"):
        return True
    return value in (("vfr", "2", "passthrough", "0") if fps == "source" else ("cfr", "1"))


MET: dict[str, Callable[[str, str], bool]] = {  # whether a value asks for what happens anyway
    "itsoffset": _only("0", "0.0", "00:00:00"),
    "stream_loop": _only("0"),
    "seek_timestamp": _only("0"),
    "fps_mode": _is_mode_met,
}


def is_met(flag: Flag, value: str, fps: str) -> bool:
    """Return True if an accepted flag asks with `value` for what happens at the rate `fps`."""
    return flag.name not in MET or MET[flag.name](value, fps)
