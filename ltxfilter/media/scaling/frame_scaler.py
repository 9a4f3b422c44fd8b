"""Frames made larger, source frames and interpolated ones alike, by FFmpeg's swscale."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import av.filter

from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.avframe import FrameCopier, buffer_filter, from_planes, view
from ltxfilter.media.encoding.conversion import chroma_place
from ltxfilter.media.encoding.encoded_video import UNSPECIFIED, has_role, matrix_of
from ltxfilter.media.pixfmt import MAX_PIXELS, plane_shapes
from ltxfilter.options import OutputOptions

# With bitexact, every processor makes the same samples.
FLAGS = "lanczos+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
COPIES = 3  # scaled frames in hand: the filter's, the one that is handed out, and a sink's copy


class FrameScaler:
    """Makes the frames of one stream larger. Use it from one thread.

    - Every plane is resampled by Lanczos with three lobes, and chroma stays where the stream's
      chroma location puts it. Pixel format, depth, code range and colour are the stream's; no
      sample is converted between colour spaces, but RGB passes through 4:4:4 inside swscale, which
      takes at most one code of 10 bits.
    - A frame keeps its time and all that is known of it. Where it has an `origin`, the scaled
      frame's one carries the same tags and side data.
    - The same samples come of the same frame on every machine, in any order of calls.
    """

    def __init__(self, info: VideoInfo, factor: Fraction) -> None:
        """Get ready for frames of `info`. factor: output side over source side, above 1.

        Raises OptionError for a picture that would be too large.
        """
        self.info = scaled_video(info, factor)
        self._given = info
        self._copier = FrameCopier()
        self._graphs: dict[tuple[int, int, str], av.filter.Graph] = {}  # by what tells them apart

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most while a frame is scaled and handed on."""
        return self._given.frame_bytes + COPIES * self.info.frame_bytes

    def scaled(self, frame: Frame) -> Frame:
        """Return `frame` at the output's size."""
        picture = self._enlarged(self._picture(frame))
        planes = view(picture, self.info.layout)
        return replace(frame, planes=planes, origin=None if frame.origin is None else picture)

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """Return a picture of libav's that shows what `frame` shows."""
        if frame.origin is None:
            return from_planes(frame.planes, self._given)
        if frame.made is Made.INTERPOLATED:
            return self._copier.with_planes(frame.origin, frame.planes, self._given.layout)
        decoded: av.VideoFrame = frame.origin
        return decoded

    def _enlarged(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Send a picture through swscale; side data, times and tags stay."""
        tags = int(picture.colorspace), int(picture.color_range)
        key = *tags, picture.format.name
        if key not in self._graphs:
            self._graphs[key] = self._graph(picture)
        graph = self._graphs[key]
        graph.vpush(picture)
        enlarged = graph.vpull()
        enlarged.colorspace, enlarged.color_range = tags
        if tags[0] == UNSPECIFIED:
            enlarged.colorspace = self.info.color.matrix
        return enlarged

    def _graph(self, picture: av.VideoFrame) -> av.filter.Graph:
        """Build the filter graph that scales pictures like `picture`."""
        info = self.info
        code_range = "pc" if info.color.full_range else "tv"
        across, down = map(str, chroma_place(info))
        places = {f"{side}_h_chr_pos": across for side in ("in", "out")}
        places |= {f"{side}_v_chr_pos": down for side in ("in", "out")}
        graph = av.filter.Graph()
        graph.link_nodes(
            buffer_filter(graph, picture, "1/1"),
            graph.add(
                "scale",
                w=str(info.width),
                h=str(info.height),
                flags=FLAGS,
                in_range=code_range,
                out_range=code_range,
                **places,
            ),
            graph.add("format", pix_fmts=picture.format.name),
            graph.add("buffersink"),
        ).configure()
        return graph


def scaler_of(options: OutputOptions, info: VideoInfo) -> FrameScaler | None:
    """Return what scales frames of `info` as the output's options ask; None if they do not.

    Raises OptionError for a picture that would be too large.
    """
    return None if options.scale is None else FrameScaler(info, options.scale)


def scaling_line(info: VideoInfo, scaled: VideoInfo) -> str:
    """Say what happens to frames of `info` that become `scaled`."""
    return (
        f"scaled by swscale's Lanczos, source frames too: {info.width}x{info.height} -> "
        f"{scaled.width}x{scaled.height}"
    )


def scaled_video(info: VideoInfo, factor: Fraction) -> VideoInfo:
    """Describe the frames of `info` when each side is `factor` times as long.

    Sides become even, since that is what encoders of subsampled chroma take: the nearest even
    number, the larger one where both are as near. A stream without a matrix that players would
    guess otherwise at the new size is tagged with the one that its samples have. Raises OptionError
    for a picture that would be too large.
    """
    width, height = (_even(side * factor) for side in (info.width, info.height))
    if width * height > MAX_PIXELS:
        raise OptionError(
            f"--scale {written(factor)}: a picture of {width}x{height} is over the limit of "
            f"{MAX_PIXELS} pixels"
        )
    layout = plane_shapes(info.pix_fmt, width, height)
    scaled = replace(info, width=width, height=height, layout=layout)
    if has_role(info, "u") and info.color.matrix == UNSPECIFIED:
        matrix = matrix_of(info)
        if matrix != matrix_of(scaled):
            return replace(scaled, color=replace(info.color, matrix=matrix))
    return scaled


def written(factor: Fraction) -> str:
    """Write a factor as `--scale` takes it: 2x, 1.5x."""
    return f"{float(factor):g}x"


def _even(side: Fraction) -> int:
    """Return the even number nearest to `side`, the larger one of two that are as near."""
    return 2 * int(side / 2 + Fraction(1, 2))
