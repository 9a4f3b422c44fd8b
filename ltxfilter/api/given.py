"""What options may be given as, beside the text of the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

File = str | os.PathLike[str]
Number = int | float | Fraction
Seconds = Number | str  # seconds, or text such as "1:02:03.5"
Rate = Number | str  # frames per second, or text such as "60000/1001"
Spans = str | Iterable[Sequence[Seconds]]  # pairs of seconds, or text such as "1.5:3.5"


def as_given(value: Any) -> Any:
    """Return the value: `Options` normalises it, so its type may differ from the field's."""
    return value
