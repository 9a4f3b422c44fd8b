"""Frames made larger, source frames and interpolated ones alike, by FFmpeg's swscale."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import av.filter

from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.avframe import FrameCopier, buffer_filter, fill, from_planes, view
from ltxfilter.media.encoding.conversion import chroma_place
from ltxfilter.media.encoding.encoded_video import UNSPECIFIED
from ltxfilter.media.pixfmt import MAX_PIXELS
from ltxfilter.options import OutputOptions
from ltxfilter.scaling import scaled_video, written

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
        self.info = _checked(scaled_video(info, factor), factor)
        self._given = info
        self._copier = FrameCopier()
        self._graphs: dict[tuple[int, int, str], av.filter.Graph] = {}  # by what tells them apart

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most while a frame is scaled and handed on."""
        return self._given.frame_bytes + COPIES * self.info.frame_bytes

    def scaled(self, frame: Frame) -> Frame:
        """Return `frame` at the output's size.

        One that an engine has made so large keeps its planes.
        """
        if frame.planes[0].shape == (self.info.height, self.info.width):
            return self._dressed(frame)
        picture = self._enlarged(self._picture(frame))
        planes = view(picture, self.info.layout)
        return replace(frame, planes=planes, origin=None if frame.origin is None else picture)

    def _dressed(self, frame: Frame) -> Frame:
        """Return a frame that is large already with an `origin` of its size."""
        if frame.origin is None:
            return frame
        picture = self._enlarged(self._copier.share(frame.origin))
        fill(picture, frame.planes, self.info.layout)
        return replace(frame, origin=picture)

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
                interl="-1",  # pictures that say that they are interlaced, field by field
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


def scaling_line(info: VideoInfo, scaled: VideoInfo, engine: str | None = None) -> str:
    """Say what happens to frames of `info` that become `scaled`.

    engine: the one that makes larger pictures itself, if it does.
    """
    sizes = f"{info.width}x{info.height} -> {scaled.width}x{scaled.height}"
    if engine is None:
        return f"scaled by swscale's Lanczos, source frames too: {sizes}"
    return (
        f"scaled: {sizes}, source frames by swscale's Lanczos, interpolated frames by the spatial "
        f"upsampler of {engine}"
    )


def _checked(scaled: VideoInfo, factor: Fraction) -> VideoInfo:
    """Return the description of larger frames. Raises OptionError if they would be too large."""
    if scaled.width * scaled.height > MAX_PIXELS:
        raise OptionError(
            f"--scale {written(factor)}: a picture of {scaled.width}x{scaled.height} is over the "
            f"limit of {MAX_PIXELS} pixels"
        )
    return scaled
