"""Frames of PyAV as frames of ours and back, with their times."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from support.media import ramp

from ltxfilter.errors import InputError
from ltxfilter.frame import Made
from ltxfilter.media.python_pictures.arrays import ArrayPictures
from ltxfilter.media.python_pictures.frames import FramePictures


def picture(index: int, pix_fmt: str = "yuv420p"):
    frame = ramp(index, (64, 48), pix_fmt)
    frame.pts, frame.time_base = 40 * index, F(1, 1000)
    return frame


def test_the_time_of_a_picture_is_an_exact_fraction():
    frame = ramp(0, (64, 48))
    kind = FramePictures()
    assert kind.time_of(frame) is None
    frame.pts = 1001
    assert kind.time_of(frame) is None  # a number of what?
    frame.time_base = F(1, 30000)
    assert kind.time_of(frame) == F(1001, 30000)
    assert type(kind.time_of(frame)) is F


@pytest.mark.parametrize("made", list(Made))
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "rgb24"])
def test_output_pictures_are_stamped_at_the_rate(pix_fmt, made):
    kind = FramePictures()
    source = picture(3, pix_fmt)
    info = kind.info(source, F(25))
    frame = replace(kind.frame(source, F(3, 25), info), made=made)
    out = kind.stamped_picture(frame, info, number=7, rate=F(60000, 1001))
    assert (out.pts, out.time_base) == (7, F(1001, 60000))
    assert out.format.name == pix_fmt
    assert np.array_equal(out.to_ndarray(), source.to_ndarray())
    assert source.pts == 120  # the source's own stamp is left alone


def test_without_a_rate_output_pictures_keep_their_times():
    kind = FramePictures()
    source = picture(1)
    info = kind.info(source, None)
    frame = replace(kind.frame(source, F(1, 25), info), time=F(61, 1000) + F(1, 2000))
    out = kind.stamped_picture(frame, info, number=1, rate=None)
    assert out.time_base == F(1, 2000)
    assert out.pts * F(1, 2000) == frame.time


def test_the_rate_is_a_pictures_duration_if_it_has_one():
    kind = FramePictures()
    source = picture(0)
    assert kind.info(source, None).rate is None
    source.duration = 40
    assert kind.info(source, None).rate == 25
    assert kind.frame(source, F(0), kind.info(source, None)).duration == F(1, 25)


def test_pictures_that_are_no_pictures_are_refused():
    kind = FramePictures()
    info = kind.info(picture(0), F(25))
    with pytest.raises(InputError, match="all must be alike"):
        kind.frame(picture(0, "yuv422p"), F(0), info)
    arrays = ArrayPictures()
    with pytest.raises(InputError, match="neither a numpy array nor a torch tensor"):
        arrays.info("a picture", F(25))
    with pytest.raises(InputError, match="uint8, uint16 or floats"):
        arrays.info(np.zeros((4, 4), np.int64), F(25))
