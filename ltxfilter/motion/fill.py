"""Fill the cells that a splat left empty from those around them."""

from __future__ import annotations

import cv2

from ltxfilter.motion.grid import Floats, Flow

COVERED = 0.05  # a cell with less weight than this is a hole
ENOUGH = 0.02  # mean weight of a box that may fill one


def fill(sums: Floats) -> Flow:
    """Divide the sums of a splat by their weight; give holes the mean of the nearest box.

    sums: [H, W, 3], weighted x and y, then weight. Boxes grow from 5x5 by three each time:
    normalised convolution (Knutsson & Westin, CVPR 1993) in place of a pyramid.
    """
    weight = cv2.extractChannel(sums, 2)
    found = _mean(sums, weight)
    hole = cv2.compare(weight, COVERED, cv2.CMP_LT)
    size = 5
    while cv2.countNonZero(hole) and size < 2 * max(weight.shape):
        around = cv2.blur(sums, (size, size), borderType=cv2.BORDER_REFLECT)
        near = cv2.extractChannel(around, 2)
        filled = cv2.bitwise_and(hole, cv2.compare(near, ENOUGH, cv2.CMP_GT))
        cv2.copyTo(_mean(around, near), filled, found)
        hole = cv2.bitwise_and(hole, cv2.bitwise_not(filled))
        size *= 3
    return found


def _mean(sums: Floats, weight: Floats) -> Flow:
    divisor = cv2.max(weight, 1e-6)
    x, y = (cv2.divide(cv2.extractChannel(sums, part), divisor) for part in (0, 1))
    return cv2.merge([x, y])
