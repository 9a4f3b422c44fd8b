"""The worst frames on one picture: a row for each, the true one first."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ltxfilter.compare.pictures.labels import label, label_rows
from ltxfilter.compare.pictures.rgb import Picture8
from ltxfilter.compare.worst import WorstFrame

WIDEST = 480  # pixels of one picture of the sheet


def contact_sheet(frames: Sequence[WorstFrame]) -> Picture8:
    """Return the frames as one picture, RGB [H, W, 3] uint8. There is at least one frame."""
    return np.concatenate([_row(frame) for frame in frames])


def _row(frame: WorstFrame) -> Picture8:
    cells = [_cell(_label(frame, name), picture) for name, picture in frame.pictures.items()]
    return np.concatenate(cells, 1)


def _label(frame: WorstFrame, name: str) -> str:
    if name not in frame.psnr:
        return f"frame {frame.index}, {frame.time:.3f} s: {name}"
    return f"{name} {frame.psnr[name]:.1f} dB"


def _cell(text: str, picture: Picture8) -> Picture8:
    """Return a picture at the size of the sheet, under its label."""
    height, width = picture.shape[:2]
    if width > WIDEST:
        height, width = max(round(height * WIDEST / width), 1), WIDEST
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    bar = label(text, width, max(label_rows(height), 20))
    return np.concatenate([np.repeat(bar[:, :, None], 3, 2), picture])
