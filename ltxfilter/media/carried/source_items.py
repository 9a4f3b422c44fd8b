"""Everything that a container carries beside samples and copied streams, as one list."""

from __future__ import annotations

import av
import av.container

from ltxfilter.media.carried import timecode
from ltxfilter.media.carried.frame_items import frame_items
from ltxfilter.media.carried.items import Item, Kind
from ltxfilter.media.carried.tags import telling_tags
from ltxfilter.media.carried.turning import angle_of, display_matrix_of


def source_items(
    frame: av.VideoFrame, container: av.container.InputContainer, video: av.VideoStream
) -> tuple[Item, ...]:
    """List what a container carries. frame: its first one, turned where pictures are turned."""
    found = list(frame_items(frame))
    matrix = display_matrix_of(frame)
    if matrix is not None:
        angle = round(angle_of(matrix))
        flipped = matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0
        if angle or flipped:
            what = f"the rotation by {angle} degrees" + (" and flip" if flipped else "")
            found.append(Item(Kind.ROTATION, what))
    if any(_has_timecode(tags) for tags in _all_tags(container)):
        found.append(Item(Kind.TIMECODE, "the timecode"))
    if tags := telling_tags(container.metadata):
        found.append(Item(Kind.TAGS, "tags", tuple(sorted(tags.items()))))
    if count := len(container.chapters()):
        found.append(Item(Kind.CHAPTERS, f"{count} chapters" if count > 1 else "a chapter"))
    if "stereo_mode" in video.metadata and not any(item.kind is Kind.STEREO for item in found):
        found.append(Item(Kind.STEREO, "the layout of stereoscopic views"))
    return tuple(found)


def _all_tags(container: av.container.InputContainer) -> list[dict[str, str]]:
    return [container.metadata, *(stream.metadata for stream in container.streams)]


def _has_timecode(tags: dict[str, str]) -> bool:
    return any(key.lower() == timecode.KEY for key in tags)
