"""What an encoder is given: stamped pictures, in its format, with a column or a row repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np

from ltxfilter.frame import Frame, Made, Planes, VideoInfo
from ltxfilter.media.avframe import (
    ALL_BUT_CAPTIONS,
    FrameCopier,
    buffer_filter,
    fill,
    from_planes,
    view,
)
from ltxfilter.media.base import Source
from ltxfilter.media.carried.captions import CaptionQueue
from ltxfilter.media.encoding.encoded_video import BT709, LEFT, has_role, matrix_of
from ltxfilter.media.many_files.picture_formats import PictureFinisher
from ltxfilter.media.pixfmt import plane_shapes

# Without accurate_rnd and full_chroma_*, swscale's chroma is off by up to three codes.
FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
MATRICES = {  # H.273 matrix -> what the filter "scale" calls it
    1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020",
}  # fmt: skip
START, MIDDLE, END = 0, 1, 2  # where among the luma samples that it covers a chroma sample lies
SITES = {  # FFmpeg's chroma location -> (across, down)
    1: (START, MIDDLE), 2: (MIDDLE, MIDDLE), 3: (START, START), 4: (MIDDLE, START),
    5: (START, END), 6: (MIDDLE, END),
}  # fmt: skip

Step = tuple[str, Mapping[str, str]]  # a filter and its options


class PictureConverter:
    """Turns pictures of one stream into what an encoder is given; side data and times stay.

    Interpolation is over when it is used: samples of the source reach it untouched. Use it from
    one thread.
    """

    def __init__(self, source: VideoInfo, target: VideoInfo) -> None:
        """Get ready. source: the stream's. target: the encoder's, of equal or greater size."""
        self._source = source
        self._target = target
        self._grows = (source.width, source.height) != (target.width, target.height)
        self._steps = conversion_steps(source, target)
        self._graphs: dict[tuple[Any, ...], av.filter.Graph] = {}  # by what a graph depends on

    def convert(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return `picture` itself where it is as the encoder takes it, else a new one."""
        if self._grows:
            picture = self._grown(picture)
        if self._steps and picture.format.name != self._target.pix_fmt:
            picture = self._filtered(picture, self._steps)
            color = self._target.color
            picture.colorspace, picture.color_range = color.matrix, color.range
        return picture

    def _grown(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return a picture of the target's size whose last column and row are repeated.

        A filter makes it, so that it keeps side data and tags; its samples are then replaced.
        """
        width, height = self._target.width, self._target.height
        planes = view(picture, self._source.layout)
        size = {"w": str(width), "h": str(height), "flags": "neighbor"}
        grown = self._filtered(
            picture, (("scale", size), ("format", {"pix_fmts": picture.format.name}))
        )
        layout = plane_shapes(self._source.pix_fmt, width, height)
        fill(grown, repeat_edges(planes, [(s.height, s.width) for s in layout]), layout)
        grown.colorspace, grown.color_range = picture.colorspace, picture.color_range
        return grown

    def _filtered(self, picture: av.VideoFrame, steps: Sequence[Step]) -> av.VideoFrame:
        """Send a picture through filters. Graphs are kept for pictures that are alike."""
        tags = int(picture.colorspace), int(picture.color_range)
        key = (picture.width, picture.height, picture.format.name, *tags, steps is self._steps)
        if key not in self._graphs:
            graph = av.filter.Graph()
            last = buffer_filter(graph, picture, "1/1")
            for name, options in (*steps, ("buffersink", {})):
                node = graph.add(name, **options)
                last.link_to(node)
                last = node
            graph.configure()
            self._graphs[key] = graph
        graph = self._graphs[key]
        graph.vpush(picture)
        return graph.vpull()


def repeat_edges(planes: Planes, shapes: Sequence[tuple[int, int]]) -> Planes:
    """Return `planes` at (rows, columns) of `shapes`, the last row and column repeated."""
    return tuple(
        np.pad(plane, [(0, rows - plane.shape[0]), (0, columns - plane.shape[1])], "edge")
        for plane, (rows, columns) in zip(planes, shapes, strict=True)
    )


def conversion_steps(source: VideoInfo, target: VideoInfo) -> tuple[Step, ...]:
    """Return the filters that turn pictures of `source` into the format of `target`.

    Luma, or gray, keeps its codes where depths are equal. RGB uses the whole code range, YUV the
    one that the target is tagged with.
    """
    if source.pix_fmt == target.pix_fmt:
        return ()
    if len(target.layout) == 1 and len(source.layout) > 1:
        between = source if _same_codes(source, target) else _with_chroma(target)
        return (*conversion_steps(source, between), *_luma_alone(target))
    if len(source.layout) > 1:
        return (*_unscaled_white(source), *_scale(source, target), *_scaled_white(target))
    if _same_codes(source, target):
        return tuple(_gray_copied(target))
    between = _with_chroma(source)
    return (*_gray_copied(between), *conversion_steps(between, target))


def _same_codes(source: VideoInfo, target: VideoInfo) -> bool:
    """Return True if luma of both has the same codes."""
    return source.depth == target.depth and not has_role(source, "r") and not has_role(target, "r")


def _with_chroma(gray: VideoInfo) -> VideoInfo:
    """Return a stream of gray as YUV 4:4:4 of the same codes."""
    name = "yuv444p" if gray.depth <= 8 else f"yuv444p{gray.depth}le"
    return replace(gray, pix_fmt=name, layout=plane_shapes(name, gray.width, gray.height))


def _gray_copied(target: VideoInfo) -> list[Step]:
    """Return the filters that copy gray into another format and leave its codes as they are.

    swscale takes gray for full range whatever its tag says, so both sides are called that.
    """
    return [
        ("scale", {"in_range": "pc", "out_range": "pc", "flags": FLAGS}),
        ("format", {"pix_fmts": target.pix_fmt}),
        _range_tag(target),
    ]


def _luma_alone(target: VideoInfo) -> list[Step]:
    """Return the filters that leave nothing but luma; swscale would change it by its chroma."""
    return [("extractplanes", {"planes": "y"}), _range_tag(target)]


def _range_tag(target: VideoInfo) -> Step:
    return "setparams", {"range": "pc" if target.color.full_range else "tv"}


def _scale(source: VideoInfo, target: VideoInfo) -> list[Step]:
    """Return the filters that convert matrix, range, depth and chroma."""
    options = {"flags": FLAGS}
    yuv = [video for video in (source, target) if not has_role(video, "r")]
    for side, video in (("in", source), ("out", target)):
        if has_role(video, "r"):
            continue
        options[f"{side}_range"] = "pc" if yuv[-1].color.full_range else "tv"
        options[f"{side}_color_matrix"] = MATRICES.get(matrix_of(yuv[-1]), MATRICES[BT709])
        across, down = chroma_place(video)
        options[f"{side}_h_chr_pos"], options[f"{side}_v_chr_pos"] = str(across), str(down)
    return [("scale", options), ("format", {"pix_fmts": target.pix_fmt})]


def chroma_place(video: VideoInfo) -> tuple[int, int]:
    """Return where chroma lies across and down, in 1/256 of a luma sample from the first one."""
    chroma = next((shape for shape in video.layout if shape.role == "u"), None)
    if chroma is None:
        return 0, 0
    across, down = SITES.get(video.color.chroma_location, SITES[LEFT])
    return _offset(across, chroma.shift_x), _offset(down, chroma.shift_y)


def _offset(site: int, shift: int) -> int:
    """Return the offset of a chroma sample that covers 2^shift luma samples."""
    return ((256 << shift) - 256) * site // 2


def _unscaled_white(source: VideoInfo) -> list[Step]:
    """Return the filter that makes swscale read RGB of more than 8 bits right.

    It takes 255 << (depth - 8) for white.
    """
    if not has_role(source, "r") or source.depth <= 8:
        return []
    return [_gain(255 << (source.depth - 8), (1 << source.depth) - 1)]


def _scaled_white(target: VideoInfo) -> list[Step]:
    """Return the filter that makes the RGB of more than 8 bits right that swscale made of YUV."""
    if not has_role(target, "r") or target.depth <= 8:
        return []
    return [_gain((1 << target.depth) - 1, 255 << (target.depth - 8))]


def _gain(numerator: int, denominator: int) -> Step:
    value = f"min(round(val*{numerator}/{denominator}),maxval)"
    return "lutrgb", {"r": value, "g": value, "b": value}


def wanted_captions(source: Source) -> CaptionQueue | None:
    """Return the captions of a source, if a sink writes them; else the encoder may."""
    others = source.other_streams
    return others.captions if others is not None and others.captions.wanted else None


class Pictures:
    """Makes the pictures that an encoder takes out of the frames of one stream."""

    def __init__(self, info: VideoInfo, video: VideoInfo, captions: CaptionQueue | None) -> None:
        """Begin a stream.

        info: the stream's. video: what the encoder is given. captions: the source's, if they are
        written otherwise than by the encoder, so that frames have to lose them.
        """
        self._captions = captions
        self._info = info
        self._copier = FrameCopier()
        self._finisher = PictureFinisher(info, video)
        self._converter = PictureConverter(info, self._finisher.given)

    def picture(self, frame: Frame) -> av.VideoFrame:
        """Return what to encode: the decoded frame itself, or one made to look like it."""
        decoded = frame.origin
        if decoded is None:
            picture = from_planes(frame.planes, self._info)
        elif frame.made is Made.INTERPOLATED:
            picture = self._copier.with_planes(decoded, frame.planes, self._info.layout)
        elif frame.made is Made.REPEATED:
            picture = self._copier.share(decoded)
        elif self._captions is not None and self._captions.seen:
            picture = self._copier.share(decoded, ALL_BUT_CAPTIONS)
        else:
            picture = decoded
        return self._finisher.finish(self._converter.convert(picture))


class EncoderStamps:
    """Counts the frames in ticks of an encoder, from the first one's time on; never one twice."""

    def __init__(self, clock: Fraction) -> None:
        """clock: seconds per tick."""
        self._clock = clock
        self._first = Fraction(0)  # seconds on the source's clock
        self._ticks = -1  # of the latest frame

    @property
    def ticks(self) -> int:
        """Of the latest frame."""
        return self._ticks

    @property
    def latest(self) -> Fraction:
        """Seconds from the first frame to the latest one."""
        return self._ticks * self._clock

    def begin(self, time: Fraction) -> None:
        """Take `time`, seconds on the source's clock, for tick 0."""
        self._first = time

    def pass_over(self, ticks: int) -> None:
        """Count the frames up to `ticks` as stamped, which were encoded elsewhere."""
        self._ticks = max(self._ticks, ticks)

    def stamp(self, picture: av.VideoFrame, time: Fraction) -> None:
        """Stamp a picture that is shown at `time`, seconds on the source's clock."""
        self._ticks = max(round((time - self._first) / self._clock), self._ticks + 1)
        picture.pts, picture.time_base = self._ticks, self._clock
