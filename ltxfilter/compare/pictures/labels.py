"""Labels: a line of white text on black, as a picture of its own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FONT = cv2.FONT_HERSHEY_SIMPLEX  # it has ASCII only
LEAST_ROWS = 16  # of a label, pixels
FULL_ROWS = 22  # pixels that a line of this font needs at scale 1 above its baseline


def label_rows(height: int) -> int:
    """Return the rows of a label, even, for a picture of `height` rows."""
    return max(LEAST_ROWS, height // 24) // 2 * 2


def label(text: str, width: int, rows: int) -> NDArray[Any]:
    """Return `text` as white on black, [rows, width] uint8; what does not fit is shortened.

    A letter that is not ASCII is shown as a question mark.
    """
    picture = np.zeros((rows, width), np.uint8)
    scale = 0.6 * rows / FULL_ROWS
    shown = text.encode("ascii", "replace").decode()
    while len(shown) > 1 and _width(shown, scale) > width - 4:
        shown = f"{shown.rstrip('.')[:-1]}.." if len(shown) > 3 else shown[:-1]
    place = (max(rows // 6, 1), rows - max(rows // 4, 3))
    cv2.putText(picture, shown, place, FONT, scale, 255, max(round(scale * 1.5), 1), cv2.LINE_AA)
    return picture


def _width(text: str, scale: float) -> int:
    size: tuple[int, int] = cv2.getTextSize(text, FONT, scale, 1)[0]
    return size[0]
