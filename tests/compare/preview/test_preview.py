from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import decoded
from support.small_clips import info_of, moving, moving_clip, write
from support.tools import make_clip

from ltxfilter.compare.preview import PreviewOptions, make_preview
from ltxfilter.compare.preview.clip import time_text
from ltxfilter.compare.preview.hardest import hardest_moments
from ltxfilter.errors import InputError, OptionError, OutputError
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import run


def options(tmp_path: Path, clip: Path, **more: object) -> PreviewOptions:
    named = {
        "input": str(clip),
        "output": str(tmp_path / "preview.mkv"),
        "engines": ("blend",),
        "at": (Fraction(1),),
        "seconds": Fraction(1),
        **more,
    }
    return PreviewOptions(**named)  # type: ignore[arg-type]


def shown(tmp_path: Path) -> list[np.ndarray]:
    frames = decoded(tmp_path / "preview.mkv")
    return [frame.to_ndarray(format="gray") for frame in frames]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_seconds_around_the_moment_are_shown_slowly_before_and_after(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 75)
    assert make_preview(options(tmp_path, clip)) == (Fraction(1),)
    with av.open(str(tmp_path / "preview.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(50, 4)
        assert stream.width == 2 * 64
    pictures = shown(tmp_path)
    assert len(pictures) == 50  # one second at 50 frames per second
    left, right = [p[-48:, :64] for p in pictures], [p[-48:, 64:] for p in pictures]
    repeats = [distance(a, b) for a, b in zip(left[::2], left[1::2], strict=True)]
    changes = [distance(a, b) for a, b in zip(right[::2], right[1::2], strict=True)]
    assert np.mean(repeats) < np.mean(changes) / 2
    whole = moving(75, info_of())
    assert distance(left[0], whole[13][0]) < 6  # from 0.5 s on


def test_the_frames_are_those_of_a_run(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 75)
    make_preview(
        options(tmp_path, clip, engines=("flow",), fps="60", output=str(tmp_path / "p.y4m"))
    )
    reading = InputOptions(path=str(clip), start=Fraction(1, 2), duration=Fraction(1))
    writing = OutputOptions(path=str(tmp_path / "run.y4m"))
    run(Options(input=reading, output=writing, fps="60", engine="flow"))
    made = [frame.to_ndarray() for frame in decoded(tmp_path / "run.y4m")]
    right = [frame.to_ndarray()[: frame.height] for frame in decoded(tmp_path / "p.y4m")]
    assert len(made) == len(right) == 60
    for ours, theirs in zip(right, made, strict=True):
        assert np.array_equal(ours[-48:, 64:], theirs[:48])


def test_several_engines_and_moments_make_one_video(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 75)
    asked = options(
        tmp_path, clip, engines=("blend", "flow"), at=(Fraction(1), Fraction(2)), fps="2x"
    )
    make_preview(replace(asked, speed=Fraction(1, 2)))
    pictures = shown(tmp_path)
    assert len(pictures) == 2 * 50
    assert pictures[0].shape[1] == 3 * 64


def test_a_moment_near_an_end_shows_what_there_is(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 25)
    make_preview(options(tmp_path, clip, at=(Fraction(0),)))
    assert len(shown(tmp_path)) == 50
    make_preview(options(tmp_path, clip, at=(Fraction(9, 10),), overwrite=True))
    assert 20 <= len(shown(tmp_path)) <= 30


def test_a_moment_beyond_the_end_is_refused(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 25)
    with pytest.raises(InputError, match=r"lasts 00:01.000; --at 01:20.000 is beyond its end"):
        make_preview(options(tmp_path, clip, at=(Fraction(80),)))
    assert not (tmp_path / "preview.mkv").exists()


def test_the_hardest_moments_are_where_the_estimate_is_lowest(tmp_path: Path):
    info = info_of()
    calm, noise = moving(80, info, step=0.5), np.random.default_rng(1)
    for at in range(50, 54):
        luma = noise.integers(16, 236, (48, 64), dtype=np.uint8)
        calm[at] = (luma, *calm[at][1:])
    clip = write(tmp_path / "a.y4m", calm, info)
    (hardest,) = hardest_moments(str(clip), 1, Fraction(1))
    assert Fraction(48, 25) <= hardest <= Fraction(55, 25)
    several = hardest_moments(str(clip), 3, Fraction(1))
    assert several[0] == hardest
    assert len(several) == 3
    assert all(abs(a - b) >= 1 for a in several for b in several if a is not b)
    assert make_preview(options(tmp_path, clip, at=(), worst=1)) == (hardest,)


def test_a_still_video_has_no_hard_moment(tmp_path: Path):
    clip = write(tmp_path / "a.y4m", moving(1, info_of()), info_of())
    with pytest.raises(InputError, match="no two of its frames"):
        hardest_moments(str(clip), 1, Fraction(1))


def test_a_rate_that_adds_no_frame_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    clip = moving_clip(tmp_path / "a.y4m", 40, rate=60)
    make_preview(options(tmp_path, clip, at=(Fraction(0),), seconds=Fraction(1, 5)))
    assert "has 60 frames per second already, and --fps auto adds none; try --fps 2x" in caplog.text


def test_a_variable_rate_is_shown_at_one_rate(tmp_path: Path):
    still = "setpts='if(lt(N,3),N,2*N+N*N/9)/25/TB'"
    clip = make_clip(tmp_path / "vfr.mkv", "-vf", still, "-fps_mode", "vfr", "-c:v", "ffv1")
    make_preview(options(tmp_path, clip))
    with av.open(str(tmp_path / "preview.mkv")) as container:
        assert container.streams.video[0].average_rate == 15
    assert 50 <= len(shown(tmp_path)) <= 60


def test_the_input_is_never_overwritten(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 25)
    with pytest.raises(OutputError, match="is the input itself"):
        make_preview(options(tmp_path, clip, output=str(clip), overwrite=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": ()}, "name a moment with --at"),
        ({"seconds": Fraction(0)}, "--seconds 0"),
        ({"seconds": Fraction(61)}, "--seconds 61"),
        ({"worst": 21}, "--worst 21"),
        ({"fps": "source"}, "--fps source"),
        ({"engines": ()}, "at least one engine"),
    ],
)
def test_what_makes_no_preview_is_refused(tmp_path: Path, change: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        options(tmp_path, tmp_path / "a", **change)


def test_times_are_written_as_people_read_them():
    assert time_text(80.5) == "01:20.500"
    assert time_text(3723.25) == "01:02:03.250"
