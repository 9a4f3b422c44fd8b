"""How a network wants its two pictures: told from its inputs' shapes, without running it.

The forms in use are these; "time" is tau, 0..1, as a number or as a plane of equal samples::

    two pictures of 3 channels [, time]           most exports; FILM with channels last
    6 channels [, time]                           both pictures
    7 channels                                    both pictures and a plane of time (vs-mlrt's v2)
    11 channels                                   the same with coordinates (vs-mlrt's v1)

A network without time makes the moment in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.engines.onnx.rgb import Rgb

LEFT, RIGHT, TIME = "left", "right", "time"
X, Y, STEP_X, STEP_Y = "x", "y", "step x", "step y"  # coordinates -1..1, and from pixel to pixel
STACKS = {  # channels of one input -> what they hold
    6: (LEFT, RIGHT),
    7: (LEFT, RIGHT, TIME),
    11: (LEFT, RIGHT, TIME, X, Y, STEP_X, STEP_Y),
}
FORMS = (
    "two pictures of 3 channels, or one input of 6, each with or without a time, or one input of 7 "
    "or 11 channels"
)
TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}


class InputFormError(Exception):
    """The inputs of a network are none that we know; the message says what they are."""


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of a graph, as ONNX Runtime describes it."""

    name: str
    type: str  # such as "tensor(float)"
    shape: tuple[int | None, ...]  # None where a size is free

    def __str__(self) -> str:
        """Describe it in a message."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.type.removeprefix('tensor').strip('()')}[{sizes}]"


@dataclass(frozen=True, slots=True)
class Feed:
    """What one input is given."""

    name: str
    parts: tuple[str, ...]  # stacked along the channels; (TIME,) alone may be a number
    dtype: np.dtype[Any]
    channels_last: bool = False
    shape: tuple[int | None, ...] = ()  # of the input

    @property
    def is_number(self) -> bool:
        """True for a time that is one number per picture rather than a plane."""
        return self.parts == (TIME,) and (len(self.shape) < 4 or set(self.shape[1:]) == {1})

    def of(self, pairs: Sequence[tuple[Rgb, Rgb]], times: Sequence[float]) -> NDArray[Any]:
        """Return the array for a batch of pairs of pictures and their times."""
        if self.is_number:
            return _times(self.shape, times).astype(self.dtype)
        height, width = pairs[0][0].shape[1:]
        batch = np.stack(
            [
                np.concatenate([self._part(part, pair, tau, height, width) for part in self.parts])
                for pair, tau in zip(pairs, times, strict=True)
            ]
        )
        if self.channels_last:
            batch = batch.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(batch, self.dtype)

    @staticmethod
    def _part(part: str, pair: tuple[Rgb, Rgb], tau: float, height: int, width: int) -> Rgb:
        """Return the channels [C, height, width] of one part."""
        if part in (LEFT, RIGHT):
            return pair[part == RIGHT]
        plane = np.empty((1, height, width), np.float32)
        if part == X:
            plane[:] = np.linspace(-1, 1, width, dtype=np.float32)
        elif part == Y:
            plane[:] = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        else:
            steps = {TIME: tau, STEP_X: 2 / max(width - 1, 1), STEP_Y: 2 / max(height - 1, 1)}
            plane[:] = steps[part]
        return plane


def _times(shape: tuple[int | None, ...], times: Sequence[float]) -> NDArray[Any]:
    """Return the times in the shape of an input: one each, or a single one for all."""
    if not shape or (shape[0] == 1 and len(times) > 1):
        return np.full([1] * len(shape), times[0]) if shape else np.array(times[0])
    return np.reshape(np.array(times), (-1, *[1] * (len(shape) - 1)))


@dataclass(frozen=True, slots=True)
class InputForm:
    """How a network wants two pictures and a time."""

    feeds: tuple[Feed, ...]

    @property
    def timed(self) -> bool:
        """True if it makes any moment; else it makes the one in the middle."""
        return any(TIME in feed.parts for feed in self.feeds)

    @property
    def one_time(self) -> bool:
        """True if all pictures of a batch have one time."""
        return any(feed.is_number and (not feed.shape or feed.shape[0] == 1) for feed in self.feeds)

    @property
    def picture(self) -> Feed:
        """The first input that holds a picture."""
        return next(feed for feed in self.feeds if LEFT in feed.parts)

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Rows and columns of its pictures; None where they are free."""
        shape = self.picture.shape
        return (shape[1], shape[2]) if self.picture.channels_last else (shape[2], shape[3])

    @property
    def batch(self) -> int | None:
        """Pictures in a batch; None where that is free."""
        return self.picture.shape[0]

    def __str__(self) -> str:
        """Describe it in a line."""
        stacked = sum(3 if part in (LEFT, RIGHT) else 1 for part in self.picture.parts)
        rows, columns = self.size
        words = (
            f"one input of {stacked} channels" if stacked > 3 else "two pictures",
            "any time" if self.timed else "the time 0.5 alone",
            str(self.picture.dtype),
            "channels last" if self.picture.channels_last else "channels first",
            f"{columns or '?'}x{rows or '?'}" if rows or columns else "any size",
        )
        return ", ".join(words)


def input_form(inputs: Sequence[GraphInput]) -> InputForm:
    """Return how a network of these inputs wants its pictures. Raises InputFormError."""
    listed = "; ".join(map(str, inputs)) or "none"
    pictures = [each for each in inputs if _channels(each)[0] in (3, *STACKS)]
    others = [each for each in inputs if each not in pictures]
    if wrong := [each for each in inputs if each.type not in TYPES]:
        raise InputFormError(f"its input {wrong[0]} is neither float nor float16")
    counts = [_channels(each)[0] for each in pictures]
    stacks: list[tuple[str, ...]] = []
    if counts == [3, 3]:
        stacks = [(LEFT,), (RIGHT,)]
    elif len(counts) == 1 and counts[0] != 3:
        stacks = [STACKS[counts[0]]]
    timed = any(TIME in parts for parts in stacks)
    if not stacks or len(others) > (0 if timed else 1) or not all(map(_may_be_time, others)):
        raise InputFormError(f"its inputs are {listed}; known are {FORMS}")
    feeds = [
        Feed(each.name, parts, TYPES[each.type], _channels(each)[1], each.shape)
        for each, parts in zip(pictures, stacks, strict=True)
    ]
    last = feeds[0].channels_last
    feeds += [Feed(each.name, (TIME,), TYPES[each.type], last, each.shape) for each in others]
    return InputForm(tuple(feeds))


def _channels(given: GraphInput) -> tuple[int, bool]:
    """Return how many channels an input of pictures has and if they are last; 0 for another."""
    shape = given.shape
    if len(shape) != 4:
        return 0, False
    for axis in (1, 3):
        if shape[axis] in (3, *STACKS):
            return shape[axis] or 0, axis == 3
    return 0, False


def _may_be_time(given: GraphInput) -> bool:
    """Return True for a number per picture, and for a plane of one channel."""
    return len(given.shape) <= 2 or (len(given.shape) <= 4 and 1 in given.shape[1:])
