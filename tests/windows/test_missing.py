"""Missing frames are never shown, all others stay as they are, and no output time changes."""

from contextlib import closing
from dataclasses import replace
from fractions import Fraction as F
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media import make_video
from support.tools import make_clip

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame, Made, PlaneShape, VideoInfo
from ltxfilter.media.opening import open_source
from ltxfilter.normalize import seconds_of, spans_of
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import run
from ltxfilter.pipeline.stages import drawn
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.values import LONGEST_REDRAW, merge_spans, parse_spans
from ltxfilter.windows.missing import MissingFrames, hide
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, WindowShape

LAYOUT = (PlaneShape("y", 8, 8, 0, 0, 8),)
INFO = VideoInfo(8, 8, "gray", LAYOUT, F(25), F(1, 25))
RATES = st.sampled_from([F(50), F(60), F(60000, 1001), F(25), F(12), None])


class Script:
    """Answers from the right frame's first sample: an odd code begins a shot."""

    def join(self, left, right, reset):
        return Join.CUT if right.planes[0][0, 0] % 2 else Join.INTERPOLATE


def frame(number, code=None, **more):
    code = 2 * (number % 100) if code is None else code
    return Frame(F(number, 25), (np.full((8, 8), code, np.uint8),), duration=F(1, 25), **more)


def output(frames, rate=F(50), engine="blend", **more):
    worker = WindowRunner(engine, INFO, rate)
    rolling = RollingWindow(worker.shape, rate, Script(), INFO.interval, **more)
    windows = [window for item in frames for window in rolling.push(item)]
    return list(drawn(windows + list(rolling.finish()), worker)), rolling


def is_of(out, source):
    return out.planes[0] is source.planes[0]


@given(
    marks=st.lists(st.sampled_from(["good", "good", "hidden", "bad", "cut"]), min_size=1),
    rate=RATES,
    smooth=st.booleans(),
)
def test_missing_frames_are_never_shown_and_the_others_stay(marks, rate, smooth):
    frames = [
        frame(n, 2 * (n % 100) + (mark == "cut"), hidden=mark == "hidden", corrupt=mark == "bad")
        for n, mark in enumerate(marks)
    ]
    repeats = "smooth" if smooth else "report"
    if all(one.hidden for one in frames):
        with pytest.raises(InputError, match="--redraw hides all"):
            output(frames, rate)
        return
    found, rolling = output(frames, rate, repeats=repeats)
    plain, _ = output([frame(n) for n in range(len(marks))], rate)
    assert [out.time for out in found] == [out.time for out in plain]
    good = [one for one in frames if not one.hidden and not one.corrupt]
    seen = good or [one for one in frames if one.corrupt]
    for source in frames:
        shown = [out for out in found if is_of(out, source)]
        assert not shown or any(source is one for one in seen)
    if good:
        on_time = {one.time: one for one in good}
        for out in found:
            if out.time in on_time:
                assert out is on_time[out.time]
        assert rolling.counts.missing_interpolated + rolling.counts.missing_repeated == len(
            frames
        ) - len(good)


@given(begin=st.integers(1, 30), count=st.integers(1, 60), rate=RATES)
@settings(max_examples=40)
def test_missing_frames_between_two_good_ones_are_interpolated_from_both(begin, count, rate):
    frames = [frame(n, 100 if n < begin else 200) for n in range(begin + count + 5)]
    for number in range(begin, begin + count):
        frames[number] = frame(number, 7, hidden=True)
    found, rolling = output(frames, rate)
    assert rolling.counts.missing_interpolated == count
    assert rolling.counts.missing_repeated == 0
    left, right = F(begin - 1, 25), F(begin + count, 25)
    for out in found:
        if left < out.time < right:
            tau = (out.time - left) / (right - left)
            assert out.made is Made.INTERPOLATED
            assert abs(float(out.planes[0].mean()) - float(100 + 100 * tau)) <= 1


def test_beside_a_scene_cut_the_nearest_good_frame_is_repeated(caplog):
    frames = [frame(0), frame(1), frame(2, hidden=True), frame(3, hidden=True), frame(4, 9)]
    found, rolling = output(frames)
    shown = [next(n for n, one in enumerate(frames) if is_of(out, one)) for out in found[2:8]]
    assert shown == [1, 1, 1, 4, 4, 4]
    assert [out.made for out in found[2:9]] == [Made.SOURCE] + 5 * [Made.REPEATED] + [Made.SOURCE]
    assert rolling.counts.missing_repeated == 2
    assert "cannot be interpolated (cut)" in caplog.text


def shot_of(one):
    return int(one.planes[0][0, 0]) // 100


@pytest.mark.parametrize(
    ("shots", "seen"),
    [
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]),  # at the good frame after them
        ([0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]),  # at the first of them
        ([0, 1, 2, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]),  # two shots begin: the middle
    ],
)
def test_hidden_frames_tell_where_among_them_the_scene_cut_is(shots, seen):
    frames = [frame(n, 100 * shot + 1, hidden=1 <= n <= 3) for n, shot in enumerate(shots)]
    missing = MissingFrames(is_cut=lambda left, right: shot_of(left) != shot_of(right))
    found, rolling = output(frames, missing=missing)
    assert [shot_of(out) for out in found[:8]] == seen
    assert rolling.counts.missing_repeated == 3
    assert rolling.counts.cuts == 1


def test_frames_that_look_apart_are_of_one_shot_if_nothing_between_them_is_cut():
    frames = [frame(0, 10), frame(1, 20, hidden=True), frame(2, 31)]
    found, rolling = output(frames, missing=MissingFrames(is_cut=lambda *_: False))
    assert [int(out.planes[0][0, 0]) for out in found[:5]] == [10, 15, 20, 26, 31]
    assert (rolling.counts.missing_interpolated, rolling.counts.cuts) == (1, 0)


def test_the_stream_may_begin_and_end_hidden(caplog):
    frames = [frame(n, hidden=n in (0, 1, 4, 5)) for n in range(6)]
    for rate in (F(50), None):
        found, rolling = output(frames, rate)
        assert [out.time for out in found] == [F(n, 50) for n in range(12)]
        assert all(is_of(out, frames[2]) for out in found[:5])
        assert all(is_of(out, frames[3]) for out in found[6:])
        assert rolling.counts.missing_repeated == 4
    assert "the video begins" in caplog.text


def test_long_damage_is_shown_after_a_while_and_later_interpolated_from_again():
    frames = [frame(n, corrupt=10 <= n < 40) for n in range(50)]
    found, rolling = output(frames, F(25), missing=MissingFrames(longest=F(1, 2)))
    shown = [n for n, out in enumerate(found) if out.made is Made.SOURCE]
    assert shown == [*range(10), *range(22, 50)]
    assert rolling.counts.missing_repeated == 12


def test_a_video_that_is_damaged_throughout_is_still_shown():
    found, _ = output([frame(n, corrupt=True) for n in range(100)], F(25))
    assert sum(out.made is Made.SOURCE for out in found) > 70
    assert len(found) == 100
    short, _ = output([frame(n, corrupt=True) for n in range(5)], F(25))
    assert len(short) == 5


def test_frames_that_were_lost_are_no_pause():
    lost = [frame(n, lost=n == 9) for n in (0, 1, 2, 9, 10)]
    damaged = [frame(n, corrupt=n == 3) for n in (0, 1, 2, 3, 9, 10)]
    far = [frame(n, lost=n == 40) for n in (0, 1, 2, 40, 41)]
    for frames, more, drawn_ones in (
        (lost, {}, 13),
        (damaged, {}, 13),
        (far, {"missing": MissingFrames(longest=F(1))}, 0),
    ):
        found, rolling = output(frames, **more)
        left, right = F(2, 25), frames[-2].time
        inside = [out.made for out in found if left < out.time < right]
        assert inside.count(Made.INTERPOLATED) == drawn_ones
        assert rolling.counts.pauses == 0


def test_frames_whose_packets_do_not_decode_are_interpolated(tmp_path):
    path = make_video(tmp_path / "in.mkv", 50, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in packets[20:24]:
        at = data.index(packet)
        data[at : at + len(packet)] = bytes(len(packet))
    path.write_bytes(data)
    frames = read(path)
    assert len(frames) == 46
    done = run(
        Options(
            input=InputOptions(path=str(path)),
            output=OutputOptions(path=str(tmp_path / "out.y4m")),
            fps="25",
            engine="blend",
            cuts=False,
        )
    )
    assert (done.passed, done.interpolated, done.repeated, done.pauses, done.corrupt) == (
        46,
        4,
        0,
        0,
        4,
    )


def test_nothing_is_interpolated_across_a_pause_or_a_splice_within_missing_frames():
    paused = [frame(n, hidden=n == 3) for n in (0, 1, 2, 3, 30, 31)]
    spliced = [frame(n, hidden=n == 3, spliced=n == 3) for n in range(6)]
    for frames, count in ((paused, 64), (spliced, 12)):
        found, rolling = output(frames)
        assert len(found) == count
        assert rolling.counts.missing_interpolated == 0
        assert rolling.counts.missing_repeated == 1


@given(count=st.integers(1, 200), most=st.integers(1, 8))
@settings(max_examples=20)
def test_a_long_run_of_missing_frames_is_drawn_in_small_parts(count, most):
    worker = WindowRunner("blend", INFO, F(100))
    worker.most_slots = most
    rolling = RollingWindow(WindowShape(), F(100), Script(), INFO.interval)
    frames = [frame(n, hidden=0 < n <= count) for n in range(count + 2)]
    windows = [window for item in frames for window in rolling.push(item)]
    parts = [part for window in windows for part in worker.prepare(window)]
    assert max(len(part.window.slots) for part in parts) == min(most, 4 * (count + 1))
    assert all(len(part.window.keyframes) <= 2 for part in parts)
    assert sum(len(part.window.slots) for part in parts) == 4 * (count + 1)


@given(
    spans=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=5),
    clock=st.integers(-5, 5),
)
def test_hiding_marks_the_frames_of_the_spans(spans, clock):
    ranges = merge_spans((F(begin, 25), F(begin + length, 25)) for begin, length in spans)
    assert all(a[1] < b[0] for a, b in pairwise(ranges))
    frames = [Frame(F(n + clock, 25), ()) for n in range(50)]
    marked = {n for n, one in enumerate(hide(frames, ranges, F(clock, 25))) if one.hidden}
    assert marked == {n for begin, length in spans for n in range(begin, begin + length)}


def test_a_span_without_frames_is_said(caplog):
    assert len(list(hide([frame(0), frame(1)], merge_spans([(F(5), F(6))]), F(0)))) == 2
    assert "--redraw 5:6: no source frame" in caplog.text


def test_spans_are_read_as_they_are_written():
    assert parse_spans("1.5:3.5") == ((F(3, 2), F(7, 2)),)
    assert parse_spans("1.5-3.5,250ms:1s") == ((F(3, 2), F(7, 2)), (F(1, 4), F(1)))
    assert parse_spans("0:01:30-1:32.5") == ((F(90), F(185, 2)),)
    assert parse_spans("00:01:30:00:01:32") == ((F(90), F(92)),)
    for text in ("", "5", "1:2:3", "a:b", "1-2-3", "1:", "-1:2", "1:2,"):
        with pytest.raises(OptionError):
            parse_spans(text)


def test_spans_are_read_as_programs_give_them():
    assert spans_of("1:2") == ((F(1), F(2)),)
    assert spans_of([(4, "9.5"), (0.1 + 0.2, F(7, 3))]) == ((F(3, 10), F(7, 3)), (F(4), F(19, 2)))
    assert seconds_of("500ms") == seconds_of(0.5) == F(1, 2)
    for odd in (1.5, [1.5], [(1, 2, 3)], [(1, float("nan"))], [(None, 1)]):
        with pytest.raises(OptionError):
            spans_of(odd)


def test_unusable_spans_are_refused():
    with pytest.raises(OptionError, match="end after it begins"):
        merge_spans([(F(3), F(2))])
    assert merge_spans([(F(0), LONGEST_REDRAW)])
    with pytest.raises(OptionError, match="at most 10 s"):
        merge_spans([(F(0), F(6)), (F(5), F(11))])


def read(path):
    """Return a file's frames, decoded by one thread: several conceal damage unpredictably."""
    with closing(open_source(InputOptions(path=str(path), threads=1))) as source:
        return list(source.frames())


def same(left, right):
    return all(map(np.array_equal, left.planes, right.planes))


def test_damaged_frames_of_a_file_are_replaced_and_nothing_else_changes(tmp_path):
    path = make_video(tmp_path / "in.mkv", 100, size=(128, 96), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 2, 701):
        data[at] ^= 0x55
    path.write_bytes(data)
    frames = read(path)
    bad = [one for one in frames if one.corrupt]
    assert bad
    assert len(bad) < len(frames) / 2
    options = Options(
        input=InputOptions(path=str(path), threads=1),
        output=OutputOptions(path=str(tmp_path / "out.y4m")),
        fps="25",
        engine="flow",
    )
    done = run(options)
    found = {one.time: one for one in read(tmp_path / "out.y4m")}
    assert len(found) == done.frames_out
    for one in frames:
        assert same(one, found[one.time - frames[0].time]) != one.corrupt
    assert done.missing_interpolated + done.missing_repeated == len(bad)
    target = OutputOptions(path=str(tmp_path / "kept.y4m"))
    assert run(replace(options, output=target, conceal=False)).passed == len(frames)
    assert all(map(same, frames, read(tmp_path / "kept.y4m")))


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("ts", None), *((suffix, start) for suffix in ("mkv", "y4m") for start in (None, F(2, 5)))],
)
def test_spans_count_as_ss_does(tmp_path, suffix, start):
    path = make_clip(tmp_path / f"in.{suffix}", seconds=2)
    target = tmp_path / "out.y4m"
    done = run(
        Options(
            input=InputOptions(path=str(path), start=start),
            output=OutputOptions(path=str(target)),
            fps="25",
            engine="blend",
            redraw=parse_spans("1-1.1"),
        )
    )
    begin = start or F(0)
    drawn = {F(25), F(26), F(27)}
    source = read(path)
    whole = [one for one in source if one.time - source[0].time >= begin]
    out = read(target)
    assert len(out) == len(whole) == done.frames_out
    changed = [k for k, pair in enumerate(zip(whole, out, strict=True)) if not same(*pair)]
    assert {k + 25 * begin for k in changed} == drawn
    assert done.missing_interpolated == 3
