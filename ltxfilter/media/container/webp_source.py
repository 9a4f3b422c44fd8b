"""Animated WebP as a source: what NUT carries of it, and the durations that NUT does not state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from ltxfilter.frame import Frame
from ltxfilter.media.container.source import ContainerSource
from ltxfilter.media.pipe.animated_webp import AnimatedWebp
from ltxfilter.options import InputOptions


class WebpSource(ContainerSource):
    """The pictures of an animated WebP."""

    def __init__(self, options: InputOptions, webp: AnimatedWebp) -> None:
        """Take over `webp`. Raises InputError, OptionError, Stopped."""
        super().__init__(options, file=webp, format="nut")
        self._webp = webp

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:
        """Yield the pictures, each with its own duration. Raises InputError, Stopped."""
        for frame in super().frames(begin, seek=seek):
            yield replace(frame, duration=self._webp.duration_at(frame.time) or frame.duration)
