"""The moments of a video that flow's own estimate finds hardest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from math import inf
from time import perf_counter

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made
from ltxfilter.media.base import Source
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions, Options
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.pipeline.progress import Progress

ENGINE = "flow:preset=fast"  # it runs anywhere, and its estimate is flow's
STRETCHES = 8  # of a spacing; the hardest moment of each is a candidate
OnProgress = Callable[[Progress], None]


def hardest_moments(
    path: str, count: int, spacing: Fraction, on_progress: OnProgress | None = None
) -> list[Fraction]:
    """Return up to `count` moments of a video, in seconds as -ss counts them, the hardest first.

    The whole video is interpolated once by `ENGINE`, one frame between every two source frames.

    Args:
        path: The video.
        count: How many, > 0.
        spacing: Seconds that lie between two of them at least, > 0.
        on_progress: Called with the running counts.

    Raises:
        InputError: No frame of the video can be interpolated.
        LtxFilterError: What reading and interpolating raise.
    """
    worst: dict[int, tuple[float, Fraction]] = {}  # of each stretch: estimate in dB, and when
    with closing(open_source(InputOptions(path=path))) as source:
        for frame in _interpolated(source, on_progress):
            time = frame.time - source.clock
            if frame.psnr_db is not None:
                stretch = int(time * STRETCHES / spacing)
                worst[stretch] = min(worst.get(stretch, (inf, time)), (frame.psnr_db, time))
    found: list[Fraction] = []
    for _, time in sorted(worst.values()):
        if len(found) < count and all(abs(time - other) >= spacing for other in found):
            found.append(time)
    if not found:
        raise InputError(
            f"{path}: no two of its frames can be interpolated between, so that none is hard"
        )
    return found


def _interpolated(source: Source, on_progress: OnProgress | None) -> Iterator[Frame]:
    """Yield the frames that `ENGINE` makes; tell how far it is."""
    progress, began = Progress(duration=source.duration), perf_counter()
    with closing(FramePath(source.info, None, Options(engine=ENGINE))) as path:
        for frame in source.frames():
            for made in path.push(frame):
                if made.made is Made.INTERPOLATED:
                    progress.interpolated += 1
                    yield made
            progress.out_time = frame.time - source.clock
            progress.elapsed = perf_counter() - began
            if on_progress is not None:
                on_progress(progress)
        yield from (made for made in path.finish() if made.made is Made.INTERPOLATED)
