from __future__ import annotations

from typing import Any

from ltxfilter.pipeline.record.signs import PATTERN, Sign
from ltxfilter.pipeline.report import ReportedWindow
from ltxfilter.view.plots import clock_text, made_names, plotted, timeline_section
from ltxfilter.view.timeline import DROP, MOST_BUCKETS, MOST_EVENTS, REJECTED, RunTimeline


def drawn(number: int, psnr: float = 40.0, join: str = "interpolate", **more: Any):
    """Return a window of one interval at 25 fps: its keyframe, and a frame between."""
    time = number / 25
    outline = {
        "keyframes": [time, (number + 1) / 25],
        "first": 0,
        "last": 1,
        "intervals": [join],
    }
    between: dict[str, Any] = {"index": 2 * number + 1, "time": time + 0.02, "made": "repeated"}
    if join == "interpolate":
        between |= {"made": "interpolated", "engine": "flow", "psnr_db": psnr, **more}
    frames = ({"index": 2 * number, "time": time, "made": "source"}, between)
    return ReportedWindow(number, outline, frames)


def test_a_film_takes_no_more_room_than_a_clip():
    timeline = RunTimeline()
    for number in range(40_000):
        timeline.add(drawn(number, 30, "cut" if number % 50 == 0 else "interpolate"))
    assert MOST_BUCKETS / 2 <= len(timeline.buckets) <= MOST_BUCKETS
    assert len(timeline.events) == MOST_EVENTS
    assert timeline.happened["cut"] == 800
    made = plotted(timeline)["made"]
    assert sum(made["source"]) == 40_000
    assert sum(made["flow"]) == 40_000 - 800
    assert sum(made["repeated"]) == 800
    assert sum(plotted(timeline)["events"]["cut"]) == 800
    assert len(timeline_section(timeline).body) < 200_000


def test_a_window_in_parts_counts_its_intervals_once():
    timeline = RunTimeline()
    part = drawn(0, join="cut")
    timeline.add(part)
    timeline.add(part)
    timeline.add(ReportedWindow(1, part.outline, part.frames))  # the same interval, shown on
    assert timeline.happened == {"cut": 1}


def test_a_lone_interval_that_is_far_worse_is_told():
    timeline = RunTimeline()
    for number, psnr in enumerate([38.0, 37.0, 14.0, 38.0, 36.0, 20.0, 19.0, 18.0, 30.0]):
        timeline.add(drawn(number, psnr))
    (event,) = timeline.events
    assert (event.kind, event.begin) == (DROP, 0.08)
    assert "14 dB between 37 and 38" in event.reason


def test_events_in_a_row_are_told_as_one_with_their_reason():
    timeline = RunTimeline()
    for number in range(30):
        timeline.add(drawn(number, rejected="it was black"))
    timeline.add(
        ReportedWindow(
            99, {"keyframes": [], "first": 0, "last": 0, "intervals": []}, (), (), (
                Sign(1.0, PATTERN, 0.5),
            )
        )
    )  # fmt: skip
    fallback, sign = timeline.events
    assert (fallback.kind, fallback.count) == (REJECTED, 30)
    assert fallback.reason == "flow made it: it was black"
    assert (sign.kind, sign.reason) == (PATTERN, "in about 50 % of the picture")


def test_engines_come_in_the_order_of_their_share():
    timeline = RunTimeline()
    for number in range(10):
        timeline.add(drawn(number, engine="ltx-motion" if number < 7 else "flow"))
    assert made_names(timeline) == ["source", "ltx-motion", "flow"]


def test_clocks_are_written_for_people():
    assert [clock_text(each) for each in (0, 61.5, 3723.0409)] == [
        "00:00.000",
        "01:01.500",
        "1:02:03.041",
    ]
