"""Film stamped in fields: pictures shown for two and three fields in turn (soft telecine, 2:3).

A DVD of film holds 24000/1001 pictures per second and flags that repeat a field of every other one,
so that 60000/1001 fields come out. A demuxer stamps these pictures 2 and 3 fields apart, or nearly
so where it has to guess. In truth they are 2.5 fields apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Generic, TypeVar

from ltxfilter.values import NTSC

FILM_RATES = (24 * NTSC, Fraction(24))  # pictures per second that 2:3 pulldown is made for
MOST = Fraction(9, 10)  # of the pictures are shown for 2 or 3 fields where fields are the clock
FEW = 4  # changes between 2 and 3 fields that may be chance
ASTRAY = 2  # fields by which stamps may be off where flags tell how long pictures are shown

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stamped(Generic[Item]):
    """Something that is shown, and what its container says of its time."""

    time: Fraction  # seconds on the container's clock
    duration: Fraction | None  # seconds, if declared
    item: Item


@dataclass(frozen=True, slots=True)
class Pulldown:
    """Takes 2:3 pulldown out of times; what is not film keeps its own times."""

    field: Fraction
    """Seconds."""

    flagged: bool
    """True if durations tell for how many fields a picture is shown."""

    @property
    def film_interval(self) -> Fraction:
        """Seconds from picture to picture of film."""
        return self.field * 5 / 2

    @property
    def video_interval(self) -> Fraction:
        """Seconds from picture to picture of what is no film."""
        return self.field * 2

    def smooth(self, shown: Iterable[Stamped[Item]]) -> Iterator[tuple[Fraction, Item]]:
        """Yield (seconds, item) with the times of film; each is held until the next one is known.

        A picture of three fields after one of two came half a field early.
        """
        held: tuple[Fraction, Item] | None = None
        before, earlier = 2, 3  # fields of the picture before the held one, and of the one before
        for time, item in self._repaired(shown):
            if held is not None:
                fields = self.fields(time - held[0])
                yield held[0] + self._lateness(before, fields), held[1]
                before, earlier = fields, before
            held = time, item
        if held is not None:  # as if the pattern went on
            yield held[0] + self._lateness(before, earlier), held[1]

    def fields(self, step: Fraction) -> int:
        """Return 2 or 3 where a picture that is shown for `step` seconds has so many, else 0."""
        count = step / self.field
        return next((n for n in (2, 3) if abs(count - n) < Fraction(1, 4)), 0)

    def _lateness(self, before: int, fields: int) -> Fraction:
        return self.field / 2 if (before, fields) == (2, 3) else Fraction(0)

    def _repaired(self, shown: Iterable[Stamped[Item]]) -> Iterator[tuple[Fraction, Item]]:
        """Yield (seconds, item), one after the other for as long as the flags tell.

        Stamps that were guessed in the order of decoding are off by a field or two.
        """
        expected: Fraction | None = None
        for frame in shown:
            time = frame.time
            if expected is not None and abs(expected - time) <= ASTRAY * self.field:
                time = expected
            fields = self.fields(frame.duration or Fraction(0)) if self.flagged else 0
            expected = time + fields * self.field if fields else None
            yield time, frame.item


def find_pulldown(shown: Sequence[Stamped[Any]], *, guessed: bool) -> Pulldown | None:
    """Return what takes 2:3 pulldown out of the times of a stream; None if there is none.

    guessed: True if the times follow from those of decoding. Flags tell more then. Where times are
    stated, durations may be those of decoding (mp4).
    """
    if guessed:
        lengths = [frame.duration or Fraction(0) for frame in shown]
    else:
        lengths = [b.time - a.time for a, b in pairwise(shown)]
    field = _field(lengths)
    return None if field is None else Pulldown(field, flagged=guessed)


def _field(lengths: Sequence[Fraction]) -> Fraction | None:
    """Return the seconds of a field if pictures are shown for 2 and 3 of them in turn, else None.

    lengths: seconds for which each picture is shown.
    """
    likely = Pulldown(2 / (5 * FILM_RATES[0]), flagged=False)
    fields = [likely.fields(length) for length in lengths]
    turns = sum({a, b} == {2, 3} for a, b in pairwise(fields))
    known = [(length, count) for length, count in zip(lengths, fields, strict=True) if count]
    if turns <= FEW or len(known) < MOST * len(fields):
        return None
    whole, count = (sum(values) for values in zip(*known, strict=True))
    return min(
        (2 / (5 * rate) for rate in FILM_RATES), key=lambda field: abs(field * count - whole)
    )
