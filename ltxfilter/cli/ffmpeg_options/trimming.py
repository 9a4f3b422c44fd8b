"""-ss, -t, -to and -sseof: before -i they count in the input, after it in the output."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ltxfilter.errors import OptionError

TIMES = ("ss", "t", "to")

Times = Mapping[str, Fraction | None]  # seconds by the name of the flag


def trimmed(inner: Times, outer: Times, from_end: Fraction | None) -> dict[str, Any]:
    """Return start, duration, end and from_end as `InputOptions` takes them.

    inner: flags before -i. outer: those after it, where 0 is what the inner ones leave. from_end:
    seconds of -sseof. Raises OptionError for flags that contradict each other.
    """
    for times in (inner, outer):
        if times["t"] is not None and times["to"] is not None:
            raise OptionError("-t and -to contradict each other; give one of them")
    if from_end is not None:
        if inner["ss"] is not None or outer["ss"] is not None or inner["to"] is not None:
            raise OptionError("-sseof: give -t with it, and no -ss and no -to before -i")
        lengths = [each for each in (inner["t"], outer["t"], outer["to"]) if each is not None]
        return {"from_end": from_end, "duration": min(lengths, default=None)}
    begin = inner["ss"] or Fraction(0)
    start = begin + outer["ss"] if outer["ss"] is not None else inner["ss"]
    lengths = [each for each in (inner["t"], outer["t"]) if each is not None]
    if len(lengths) == 1 and inner["to"] is None and outer["to"] is None and outer["ss"] is None:
        return {"start": start, "duration": lengths[0]}
    ends = [
        inner["to"],
        None if inner["t"] is None else begin + inner["t"],
        None if outer["to"] is None else begin + outer["to"],
        None if outer["t"] is None else (start or 0) + outer["t"],
    ]
    return {"start": start, "end": min((end for end in ends if end is not None), default=None)}
