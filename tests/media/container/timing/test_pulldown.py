"""Film in fields: 2:3 pulldown by times and by flags, alone and beside video."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from support.media import make_video
from support.tools import ffmpeg, run_pipe

from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.timing.pulldown import Pulldown, Stamped, find_pulldown
from ltxfilter.options import InputOptions

F = Fraction
FIELD = F(1001, 60000)
FILM = F(24000, 1001)


def in_fields(*counts: int) -> list[Stamped[int]]:
    """Return pictures that are shown for so many fields each."""
    return [
        Stamped(sum(counts[:number]) * FIELD, count * FIELD, number)
        for number, count in enumerate(counts)
    ]


def smoothed(shown: list[Stamped[int]], *, flagged: bool) -> list[F]:
    times = list(Pulldown(FIELD, flagged).smooth(shown))
    assert [item for _, item in times] == list(range(len(shown)))
    return [time / FIELD for time, _ in times]


@pytest.mark.parametrize("flagged", [True, False])
def test_film_is_evenly_spaced(flagged: bool) -> None:
    assert smoothed(in_fields(2, 3, 2, 3, 2), flagged=flagged) == [0, F(5, 2), 5, F(15, 2), 10]
    assert smoothed(in_fields(3, 2, 3, 2), flagged=flagged) == [F(1, 2), 3, F(11, 2), 8]


def test_video_keeps_its_times() -> None:
    assert smoothed(in_fields(2, 2, 2, 2), flagged=False) == [0, 2, 4, 6]
    mixed = smoothed(in_fields(2, 3, 2, 3, 2, 2, 2, 2), flagged=False)
    assert mixed == [0, F(5, 2), 5, F(15, 2), 10, 12, 14, 16]


def test_flags_outweigh_stamps_that_are_guessed() -> None:
    exact = in_fields(2, 3, 2, 3, 2, 3)
    guessed = [
        Stamped(frame.time + (FIELD if frame.item % 3 == 2 else 0), frame.duration, frame.item)
        for frame in exact
    ]
    assert smoothed(guessed, flagged=True) == smoothed(exact, flagged=True)


def test_a_pause_is_kept() -> None:
    shown = in_fields(2, 3, 2, 3)
    later = [Stamped(frame.time + 10, frame.duration, frame.item + 4) for frame in shown]
    times = smoothed([*shown, *later], flagged=True)
    assert times[4] - times[0] == 10 / FIELD


def test_where_there_is_none() -> None:
    assert find_pulldown(in_fields(*[2] * 30), guessed=True) is None
    assert find_pulldown(in_fields(2, 2, 2, 3), guessed=False) is None
    for guessed in (True, False):
        found = find_pulldown(in_fields(*[2, 3] * 10), guessed=guessed)
        assert found == Pulldown(FIELD, flagged=guessed)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("first", [0, 1])
def test_film_by_its_times(tmp_path: Path, name: str, first: int) -> None:
    fields = [5 * (number + first) // 2 for number in range(40)]
    path = make_video(
        tmp_path / name, 40, rate=F(60000, 1001), pts=lambda number: fields[number] - fields[0]
    )
    check_film(path, 40)


def check_film(path: Path, count: int) -> None:
    source = ContainerSource(InputOptions(path=str(path)))
    planned = source.frame_times()
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == FILM
    assert times[:count] == [times[0] + number / FILM for number in range(count)]
    assert planned is not None
    assert planned.times == [time - times[0] for time in times]
    assert abs(planned.duration - len(times) / FILM) <= 2 * FIELD


@pytest.mark.parametrize("suffix", ["vob", "ts", "mpg"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_film_by_its_flags(tmp_path: Path, suffix: str, b_frames: int) -> None:
    options = {"bf": str(b_frames), "g": "12"}
    plain = make_video(tmp_path / "a.m2v", 48, rate=FILM, codec="mpeg2video", options=options)
    plain.write_bytes(flagged(plain.read_bytes()))
    path = tmp_path / f"film.{suffix}"
    kind = {"ts": "mpegts"}.get(suffix, "vob")
    command = ffmpeg("-fflags", "+genpts", "-i", plain, "-c", "copy", "-f", kind, path)
    assert run_pipe(command).codes == [0]
    check_film(path, 48 if kind == "vob" else 46)  # a muxer guesses the last times


def flagged(stream: bytes) -> bytes:
    """Return MPEG-2 of 24000/1001 pictures as NTSC, every other one with a field repeated."""
    data = bytearray(stream)
    place = number = base = 0
    latest = -1
    while (place := data.find(b"\0\0\1", place)) >= 0:
        kind = data[place + 3]
        if kind == 0xB3:  # sequence: 30000/1001
            data[place + 7] = (data[place + 7] & 0xF0) | 4
        elif kind == 0xB5 and data[place + 4] >> 4 == 1:  # not a progressive sequence
            data[place + 5] &= 0xF7
        elif kind == 0xB8:  # group of pictures
            base, latest = base + latest + 1, -1
        elif kind == 0:
            number = data[place + 4] << 2 | data[place + 5] >> 6
            latest = max(latest, number)
        elif kind == 0xB5 and data[place + 4] >> 4 == 8:  # picture coding extension
            shown = (base + number) % 4
            top, repeat = shown in (0, 1), shown in (0, 2)
            data[place + 7] = (data[place + 7] & 0x7D) | top << 7 | repeat << 1
            data[place + 8] |= 0x80
        place += 3
    return bytes(data)


def test_film_and_video_in_turn(tmp_path: Path) -> None:
    """Film goes at its own rate, video keeps the times of its fields, and no frame is lost."""
    counts = [2, 3] * 20 + [2] * 20 + [2, 3] * 20
    fields = [sum(counts[:number]) for number in range(len(counts))]
    path = make_video(
        tmp_path / "a.mp4", len(counts), rate=F(60000, 1001), pts=lambda number: fields[number]
    )
    source = ContainerSource(InputOptions(path=str(path)))
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == FILM
    assert len(times) == len(counts)
    steps = [(b - a) / FIELD for a, b in pairwise(times)]
    assert set(steps[1:39]) == {F(5, 2)}
    assert set(steps[41:59]) == {2}
    assert set(steps[61:99]) == {F(5, 2)}
