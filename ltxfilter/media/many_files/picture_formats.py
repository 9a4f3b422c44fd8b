"""Pictures as an output, numbered or animated: their encoders, pixel formats and palettes."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.filter

from ltxfilter.frame import VideoInfo
from ltxfilter.media.avframe import FULL, LIMITED
from ltxfilter.media.format_names import IMAGES
from ltxfilter.media.pixfmt import FLOAT_TWINS

log = logging.getLogger("ltxfilter.media")

ENCODERS = {  # ending of numbered pictures -> encoder
    ".png": "png", ".tif": "tiff", ".tiff": "tiff", ".jpg": "mjpeg", ".jpeg": "mjpeg",
    ".exr": "exr", ".dpx": "dpx", ".bmp": "bmp", ".webp": "libwebp", ".jp2": "jpeg2000",
    ".j2k": "jpeg2000", ".tga": "targa", ".sgi": "sgi", ".qoi": "qoi", ".ppm": "ppm",
    ".pgm": "pgm", ".pam": "pam", ".pnm": "ppm",
}  # fmt: skip
ANIMATIONS = {  # FFmpeg's format -> encoder
    "gif": "gif", "apng": "apng", "webp": "libwebp", "avif": "libsvtav1",
}  # fmt: skip
GIF_RATE = 50  # frames per second; browsers slow down what is shown for 1/100 s
PALETTE = "pal8"
JPEG = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}
BEFORE_LAST = {
    PALETTE: "rgba",
    **FLOAT_TWINS,
    **JPEG,
}  # what pictures are made of

# Encoder -> formats in which programs expect its pictures, the first that fits is taken: for 8 and
# for more bits, without and with alpha, colour and gray.
TAKEN = {
    "png": ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "ya8", "gray16be", "ya16be"),
    "apng": ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "ya8", "gray16be", "ya16be"),
    "tiff": ("rgb24", "rgba", "rgb48le", "rgba64le", "gray", "ya8", "gray16le", "ya16le"),
    "exr": ("gbrpf32le", "gbrapf32le", "gbrpf32le", "gbrapf32le",
            "grayf32le", "gbrapf32le", "grayf32le", "gbrapf32le"),
    "dpx": ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "rgba", "gray16be", "rgba64be"),
    "bmp": ("bgr24", "bgra", "bgr24", "bgra", "gray", "bgra", "gray", "bgra"),
    "targa": ("bgr24", "bgra", "bgr24", "bgra", "gray", "bgra", "gray", "bgra"),
    "sgi": ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "rgba", "gray16be", "rgba64be"),
    "qoi": ("rgb24", "rgba", "rgb24", "rgba", "rgb24", "rgba", "rgb24", "rgba"),
    "ppm": ("rgb24", "rgb24", "rgb48be", "rgb48be", "rgb24", "rgb24", "rgb48be", "rgb48be"),
    "pgm": ("gray", "gray", "gray16be", "gray16be", "gray", "gray", "gray16be", "gray16be"),
    "pam": ("rgb24", "rgba", "rgb48be", "rgba64be", "gray", "ya8", "gray16be", "ya16be"),
    "gif": (PALETTE,) * 8,
}  # fmt: skip


def picture_encoder(muxer: str, path: str) -> str | None:
    """Return the encoder of a format of pictures; None for other formats, and unknown endings."""
    if muxer == IMAGES:
        return ENCODERS.get(Path(path).suffix.lower())
    return ANIMATIONS.get(muxer)


def picture_pix_fmt(encoder: str, info: VideoInfo) -> str | None:
    """Return the pixel format for pictures of `info`, by encoder; None if any will do."""
    if encoder == "mjpeg":
        return next((jpeg for jpeg, name in JPEG.items() if name == info.pix_fmt), "yuvj420p")
    if encoder not in TAKEN:
        return None
    roles = {shape.role for shape in info.layout}
    gray = not roles & {"u", "r"}
    return TAKEN[encoder][4 * gray + 2 * (info.depth > 8) + ("a" in roles)]


def as_pictures(encoder: str, info: VideoInfo) -> VideoInfo:
    """Return how frames of `info` are tagged as pictures: JPEG uses the whole code range."""
    if encoder != "mjpeg":
        return info
    return replace(info, color=replace(info.color, range=FULL))


class PictureFinisher:
    """Makes the last step to pictures that swscale does not make well: palettes, float samples."""

    def __init__(self, source: VideoInfo, video: VideoInfo) -> None:
        """Get ready. source: the stream's frames. video: what the encoder is given."""
        self._pix_fmt = video.pix_fmt
        self.given = replace(video, pix_fmt=BEFORE_LAST.get(video.pix_fmt, video.pix_fmt))
        """What `finish` is given."""
        if video.pix_fmt in JPEG and not any(shape.role == "r" for shape in source.layout):
            color = replace(video.color, range=source.color.range)
            self.given = replace(self.given, color=color)
        self._palette = None
        if video.pix_fmt == PALETTE:
            self._palette = PaletteMaker(video.width, video.height)

    def finish(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return `picture` itself if nothing is left to do, else a new one."""
        if self._palette is not None:
            return self._palette.reduce(picture)
        if picture.format.name == self._pix_fmt:
            return picture
        if self._pix_fmt not in JPEG:
            return picture.reformat(format=self._pix_fmt, threads=1)
        code_range = FULL if self.given.color.full_range else LIMITED
        return picture.reformat(
            format=self._pix_fmt, src_color_range=code_range, dst_color_range=FULL, threads=1
        )


def warn_of_pace(name: str, muxer: str, rate: Fraction | None) -> None:
    """Warn of a GIF that browsers would slow down. name: of the output. rate: frames per second."""
    if muxer == "gif" and rate is not None and rate > GIF_RATE:
        log.warning(
            "%s: GIF counts in 1/100 s, and browsers show no frame for less than two of these; "
            "--fps %d plays everywhere",
            name,
            GIF_RATE,
        )


class PaletteMaker:
    """Reduces each picture to the 256 colours that suit it best, dithered."""

    def __init__(self, width: int, height: int) -> None:
        """width, height: of the pictures, pixels."""
        self._count = 0  # of pictures
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat("rgba", width, height),
            time_base=Fraction(1, 1000),
        )
        both = graph.add("split")
        palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=1")
        applied = graph.add("paletteuse", "new=1:dither=sierra2_4a")
        sink = graph.add("buffersink")
        source.link_to(both)
        both.link_to(applied, 0, 0)
        both.link_to(palette, 1, 0)
        palette.link_to(applied, 0, 1)
        applied.link_to(sink)
        graph.configure()

    def reduce(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return `picture`, which is RGBA, with a palette of its own, and without a time."""
        picture.pts, picture.time_base = self._count, Fraction(1, 1000)
        self._count += 1
        self._graph.push(picture)
        reduced = self._graph.pull()
        assert isinstance(reduced, av.VideoFrame)
        return reduced
