"""The newest pair of frames for people, where an engine's pictures are larger than keyframes."""

from __future__ import annotations

from fractions import Fraction as F
from types import SimpleNamespace
from typing import Any

import pytest
from support.small_clips import info_of, moving

from ltxfilter.frame import Credit, Frame, Made, VideoInfo
from ltxfilter.pipeline.record.newest import NewestPair
from ltxfilter.pipeline.record.newest import info_of as description_of
from ltxfilter.scaling import scaled_video


def pair_of(info: VideoInfo, drawn: VideoInfo) -> Any:
    before = Frame(F(0), moving(1, info)[0])
    made = Frame(F(1, 50), moving(1, drawn)[0], made=Made.INTERPOLATED, credit=Credit("flow"))
    window = SimpleNamespace(keyframes=(before,), slots=(SimpleNamespace(left=0),))
    newest = NewestPair(info, drawn)
    newest.offer(SimpleNamespace(window=window), [made])  # type: ignore[arg-type]
    return newest.pair


@pytest.mark.parametrize("factor", [F(1), F(3, 2), F(2)])
def test_both_pictures_are_shown_whatever_their_sizes(factor: F) -> None:
    info = info_of(64, 48)
    pair = pair_of(info, scaled_video(info, factor))
    assert pair.size == (64, 48)
    assert all(picture.startswith(b"\xff\xd8") for picture in pair.pictures)


def test_a_frame_is_described_by_its_size() -> None:
    info = info_of(64, 48)
    drawn = scaled_video(info, F(2))
    frames = [Frame(F(0), moving(1, each)[0]) for each in (info, drawn)]
    assert [description_of(each, (info, drawn)) for each in frames] == [info, drawn]
