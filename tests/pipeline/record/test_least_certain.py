from __future__ import annotations

import io
import itertools
import json

import av
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.pipeline.record.least_certain import UncertainFrame, WorstApart, flow_picture

MOMENTS = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100)), max_size=60)


@given(MOMENTS, st.integers(1, 5))
def test_what_is_kept_is_bounded_apart_and_holds_the_worst(
    moments: list[tuple[float, float]], most: int
):
    kept: WorstApart[tuple[float, float]] = WorstApart(most, apart=1.0)
    for score, time in moments:
        kept.add(score, time, (score, time))
    found = list(kept)
    assert len(found) <= most
    assert found == sorted(found)
    times = sorted(time for _, time in found)
    assert all(b - a >= 1.0 for a, b in itertools.pairwise(times))
    if moments:
        assert found[0][0] == min(score for score, _ in moments)


def test_a_doubt_survives_json():
    doubt = UncertainFrame(
        3, 1.5, 9.0, 19.0, "flow", "why", (1.0, 2.0), (b"a", b"\xff", b"c"), (4, 2), b"f", 2.5
    )
    assert UncertainFrame.from_json(json.loads(json.dumps(doubt.as_json()))) == doubt


def test_motion_is_coloured_by_its_direction():
    flow = np.zeros((8, 40, 2), np.float32)
    for part, vector in enumerate([(9, 0), (-9, 0), (0, 9), (0, -9)]):
        flow[:, 10 * part : 10 * part + 10] = vector
    flow[:2] = 0
    with av.open(io.BytesIO(flow_picture(flow))) as file:
        pixels = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert pixels.shape == (8, 40, 3)
    assert (pixels[0] == 255).all()
    right, left, down, up = (tuple(pixels[5, at]) for at in (5, 15, 25, 35))
    assert (right, left) == ((255, 0, 0), (0, 255, 255))
    assert down[1] == 255 > down[2]
    assert up[2] == 255 > up[1]
    assert flow_picture(np.zeros((600, 1000, 2), np.float32))[:4] == b"\x89PNG"
