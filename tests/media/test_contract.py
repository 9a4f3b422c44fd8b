"""The contract of `ltxfilter.media.base`, held against every source and every sink."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from fractions import Fraction as F
from pathlib import Path

import av
import pytest
from support.media import make_video, md5
from support.tools import ffmpeg, run_pipe

from ltxfilter.errors import InputError, Stopped
from ltxfilter.frame import Frame
from ltxfilter.media.base import Source
from ltxfilter.media.format_names import RAW_SUFFIXES
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.media.pipe import cancellable
from ltxfilter.options import InputOptions, OutputOptions

COUNT = 12  # frames of every input, at 25 per second
GEOMETRY = {"width": 64, "height": 48, "pix_fmt": "yuv420p", "rate": F(25)}
FILES = ("mkv", "mp4", "ts", "nut", "y4m", "yuv")
PIPES = ("mkv", "ts", "nut", "y4m")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the same frames in a file of each kind."""
    folder = tmp_path_factory.mktemp("inputs")
    first = make_video(folder / "in.mkv", COUNT, options={"qp": "0"}, audio=True)
    made = {"mkv": first}
    for kind in FILES[1:]:
        made[kind] = folder / f"in.{kind}"
        coded = ("-fps_mode", "passthrough") if kind in ("y4m", "yuv") else ("-c", "copy")
        assert run_pipe(ffmpeg("-i", first, *coded, made[kind])).codes == [0]
    return made


def options_for(path: Path, **more: object) -> InputOptions:
    geometry = GEOMETRY if path.suffix == ".yuv" else {}
    return InputOptions(path=str(path), **geometry, **more)  # type: ignore[arg-type]


@pytest.fixture(params=[*FILES, *(f"{kind} on a pipe" for kind in PIPES)])
def opened(
    request: pytest.FixtureRequest, inputs: dict[str, Path], tmp_path: Path
) -> Iterator[Callable[..., Source]]:
    """Return what opens a source of one kind; it is closed afterwards."""
    kind, _, on_pipe = request.param.partition(" ")
    sources: list[Source] = []
    writers: list[threading.Thread] = []

    def open_it(**more: object) -> Source:
        path = inputs[kind]
        if on_pipe:
            fifo = tmp_path / f"pipe{len(sources)}"
            os.mkfifo(fifo)
            writers.append(threading.Thread(target=feed, args=(path, fifo)))
            writers[-1].start()
            path = fifo
        sources.append(open_source(options_for(path, **more)))
        return sources[-1]

    yield open_it
    for source in sources:
        source.close()
    for writer in writers:
        writer.join()


def feed(path: Path, fifo: Path) -> None:
    """Write a file into a named pipe, as long as somebody reads."""
    try:
        fifo.write_bytes(path.read_bytes())
    except BrokenPipeError:
        return


# Sources


def test_every_frame_comes_once_and_in_order(opened):
    source = opened()
    assert source.duration is None or abs(source.duration - F(COUNT, 25)) < F(1, 10)
    frames = list(source.frames())
    assert len(frames) == source.counts.frames == COUNT
    assert len({md5(frame.planes) for frame in frames}) == COUNT
    assert [frame.time - frames[0].time for frame in frames] == [F(i, 25) for i in range(COUNT)]
    assert all(type(frame.time) is F for frame in frames)
    assert not any(frame.corrupt or frame.lost or frame.spliced for frame in frames)
    assert (source.counts.corrupt, source.counts.out_of_order) == (0, 0)


def test_frames_are_as_the_source_says(opened):
    source = opened()
    info = source.info
    assert (info.width, info.height, info.pix_fmt, info.rate) == (64, 48, "yuv420p", 25)
    for frame in source.frames():
        shapes = [(plane.shape, plane.dtype) for plane in frame.planes]
        assert shapes == [((shape.height, shape.width), shape.dtype) for shape in info.layout]
        assert frame.nbytes == info.frame_bytes


def test_frames_outlive_their_source(opened):
    source = opened()
    frames = list(source.frames())
    before = [md5(frame.planes) for frame in frames]
    source.close()
    source.close()  # does nothing
    assert [md5(frame.planes) for frame in frames] == before


def test_frame_times_are_known_without_decoding_or_not_at_all(opened):
    source = opened()
    known = source.frame_times()
    times = [frame.time for frame in source.frames()]
    if known is not None:
        assert list(known.times) == [time - times[0] for time in times]
        assert known.duration == F(COUNT, 25)


@pytest.mark.parametrize("seek", [True, False])
@pytest.mark.parametrize("number", [0, 5, 11])
def test_frames_from_a_later_one_on_are_the_same(opened, number, seek):
    whole = [(frame.time, md5(frame.planes)) for frame in opened().frames()]
    begin = whole[number][0]
    later = opened().frames(begin, seek=seek)
    found = [(frame.time, md5(frame.planes)) for frame in later]
    assert found[-(COUNT - number) :] == whole[number:]
    assert found == whole[-len(found) :]  # some frames before may come first


def test_ss_counts_from_the_clock(opened):
    everything = opened()
    since = [frame.time - everything.clock for frame in everything.frames()]
    source = opened(start=F(4, 25))
    times = [frame.time - source.clock for frame in source.frames()]
    assert len(times) == len([time for time in since if time >= F(4, 25)])
    assert F(4, 25) <= times[0] < F(5, 25)


def test_a_cancelled_source_stops(opened):
    source = opened()
    source.cancel()
    source.cancel()
    with pytest.raises(Stopped):
        list(source.frames())
    source.close()
    source.cancel()


def test_what_a_source_states_about_itself(opened):
    source = opened()
    assert source.name
    assert source.delay >= 0
    assert source.held_bytes > 0
    assert source.raw_pix_fmt == source.info.pix_fmt
    if source.other_streams is None:
        assert source.pipe_format == "yuv4mpegpipe"
    else:
        assert source.pipe_format == "nut"
        kinds = [stream.kind for stream in source.other_streams.plan(OutputOptions(), "matroska")]
        assert kinds == ["video", "audio"]


@pytest.mark.parametrize("kind", FILES)
def test_an_input_that_cannot_be_opened_is_named(tmp_path, kind):
    path = tmp_path / f"nothing.{kind}"
    with pytest.raises(InputError) as caught:
        open_source(options_for(path))
    assert str(caught.value).startswith(f"{path}: ")


# Sinks


@pytest.fixture
def source(inputs: dict[str, Path]) -> Iterator[Source]:
    with closing(open_source(options_for(inputs["mkv"]))) as opened:
        yield opened


@pytest.fixture(params=FILES)
def output(request: pytest.FixtureRequest, tmp_path: Path) -> OutputOptions:
    """Return an output of each kind that loses no sample."""
    path = tmp_path / f"out.{request.param}"
    if path.suffix in RAW_SUFFIXES:
        return OutputOptions(path=str(path), audio=False)
    return OutputOptions(path=str(path), codec="libx264", encoder={"qp": "0"})


def part_of(output: OutputOptions) -> Path:
    return Path(output.path + ".part")


def test_an_output_has_its_name_once_it_is_complete(source, output):
    written: list[Frame] = []
    with open_sink(output, source, F(25)) as sink:
        for frame in source.frames():
            sink.write(frame)
            written.append(frame)
        assert part_of(output).exists()
        assert not Path(output.path).exists()
        sink.finish()
    assert sink.close() is None
    assert not part_of(output).exists()
    with closing(open_source(options_for(Path(output.path)))) as again:
        assert [md5(f.planes) for f in again.frames()] == [md5(f.planes) for f in written]


def test_an_unfinished_output_is_kept_under_its_provisional_name(source, output):
    sink = open_sink(output, source, F(25))
    for frame in list(source.frames())[:5]:
        sink.write(frame)
    line = sink.close()
    assert line is not None
    assert line.startswith(f"{part_of(output)} holds the first 0.200 s")
    assert sink.close() is None
    assert not Path(output.path).exists()


def test_without_a_frame_nothing_is_left_behind(source, output):
    assert open_sink(output, source, F(25)).close() is None
    with open_sink(output, source, F(25)) as sink, pytest.raises(InputError, match="no video"):
        sink.finish()
    assert list(Path(output.path).parent.iterdir()) == []


def test_a_cancelled_sink_keeps_what_was_written(source, output):
    sink = open_sink(output, source, F(25))
    for frame in list(source.frames())[:5]:
        sink.write(frame)
    sink.cancel()
    sink.cancel()
    line = sink.close()
    assert line is not None
    assert line.startswith(f"{part_of(output)} holds the first ")
    sink.cancel()
    assert part_of(output).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("kind", ["yuv4mpegpipe", "nut"])
def test_a_cancelled_sink_says_that_its_reader_takes_nothing(source, tmp_path, kind, monkeypatch):
    """Not even the first frame: the pipe is full."""
    monkeypatch.setattr(cancellable, "GRACE", 0.05)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    filling = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while os.write(filling, bytes(4096)):
            pass
    sink = open_sink(OutputOptions(path=str(fifo), format=kind), source, F(25))
    sink.cancel()
    for frame in list(source.frames())[:1]:
        with suppress(Stopped):  # at once, or from a buffer when it is closed
            sink.write(frame)
    assert (sink.close() or "").startswith(f"{fifo}: the reader takes nothing")
    os.close(filling)
    os.close(reading)


def test_an_abandoned_sink_completes_what_it_has(source, output):
    sink = open_sink(output, source, F(25))
    frames = list(source.frames())
    for frame in frames[:6]:
        sink.write(frame)
    line = sink.abandon()
    assert line is not None
    assert line.startswith(f"{part_of(output)} holds the first ")
    sink.close()  # by the thread that went on meanwhile
    assert sink.abandon() == line
    lost = re.search(r"lost in the encoder: (\d+) frame", line)
    assert pictures(part_of(output), output.path) == 6 - (int(lost[1]) if lost else 0)


def pictures(part: Path, name: str) -> int:
    """Return how many pictures an unfinished file holds. name: tells its format by the ending."""
    whole = part.with_name(f"whole{Path(name).suffix}")
    whole.write_bytes(part.read_bytes())
    if whole.suffix == ".yuv":
        return len(whole.read_bytes()) // (64 * 48 * 3 // 2)
    with av.open(str(whole)) as container:
        return sum(1 for _ in container.decode(video=0)) if container.streams.video else 0


def test_what_a_sink_states_about_itself(source, output):
    with open_sink(output, source, F(25)) as sink:
        assert sink.name == output.path
        assert sink.place == str(part_of(output))
        assert sink.held_bytes >= 0
        raw = Path(output.path).suffix in RAW_SUFFIXES
        actions = [stream.action for stream in sink.plan]
        assert actions == ["interpolate", "drop" if raw else "copy"]
