"""Perceptual hashes: 64 bits that stay nearly the same when a picture is scaled or re-encoded."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 32  # rows and columns of the picture that is transformed
LOW = 8  # rows and columns of the frequencies whose signs make the hash


def perceptual_hash(luma: NDArray[Any]) -> int:
    """Return the DCT hash of a picture, 64 bits.

    The picture is shrunk to 32x32. Bit by bit, from the highest, the hash says which of its 8x8
    lowest frequencies, row by row, lie above their median. The mean takes no part in the median.

    Args:
        luma: [H, W], any depth and range.
    """
    small = cv2.resize(luma.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    low = np.asarray(cv2.dct(small))[:LOW, :LOW].reshape(-1)
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def bits_apart(one: int, other: int) -> int:
    """Return in how many bits, 0 to 64, two hashes differ."""
    return (one ^ other).bit_count()
