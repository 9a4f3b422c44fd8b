"""VapourSynth: `interpolate` returns a clip of a higher rate, which can be sought in like another.

In a script::

    import vapoursynth as vs
    from ltxfilter.adapters.vapoursynth import interpolate

    clip = vs.core.bs.VideoSource("in.mkv")
    interpolate(clip, 60).set_output()
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ltxfilter.api.given import as_given
from ltxfilter.api.random_access import RandomAccess
from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import ColorInfo, Frame, Made, PlaneShape, VideoInfo
from ltxfilter.normalize import named_options
from ltxfilter.options import ModelOptions, Options

MADE = "LtxfilterMade"  # property of an output frame: "source", "interpolated" or "repeated"
FAMILIES = {"GRAY": "y", "YUV": "yuv", "RGB": "rgb"}  # name of a colour family -> roles of planes
SAMPLINGS = {
    (0, 0): "444",
    (1, 0): "422",
    (1, 1): "420",
    (0, 1): "440",
    (2, 0): "411",
    (2, 2): "410",
}


@named_options
def interpolate(
    clip: Any,
    fps_num: int,
    fps_den: int = 1,
    engine: str = "auto",
    *,
    cuts: bool = True,
    repeats: str = "report",
    models: ModelOptions | None = None,
) -> Any:
    """Return a clip of `fps_num` / `fps_den` frames per second.

    A frame of it is the same in whatever order frames are asked for, and the same as the command
    line makes. Where a viewer seeks, the first frame takes longer: what lies between it and the
    reset point before it, at most 10 s of video, is looked at first.

    Args:
        clip: A video clip of a constant format, size and rate; Gray, YUV or RGB, integers of 8 to
            16 bits. Nothing is interpolated across a frame whose properties `_SceneChangePrev` or
            `_SceneChangeNext` say that a scene changes there.
        fps_num, fps_den: The output's frames per second, as a fraction.
        engine: NAME or "NAME:key=value:key=value".
        cuts: Whether scene cuts are looked for as well.
        repeats: What becomes of duplicates: "report" or "smooth".
        models: Files for the LTX engines and `onnx`.

    Returns:
        A `vapoursynth.VideoNode`. Source frames pass through with their samples. All frames have
        the properties of the source frame that they show or follow, with their own `_DurationNum`
        and `_DurationDen`, and `LtxfilterMade`, which is "source", "interpolated" or "repeated".

    Raises:
        LtxFilterError: The clip, an option or the engine cannot be used.
    """
    rate = _rate(fps_num, fps_den)
    first = _checked(clip).get_frame(0)
    options = Options(
        fps=as_given(rate),
        engine=engine,
        cuts=cuts,
        repeats=repeats,
        models=models or ModelOptions(),
        threads=1,
    )
    source = _Clip(clip)
    made = RandomAccess(source.frame, clip.num_frames, _info(clip, first), rate, options)
    blank = clip.std.BlankClip(
        length=made.count, fpsnum=rate.numerator, fpsden=rate.denominator, keep=True
    )

    def selected(n: int, f: Any) -> Any:  # noqa: ARG001  (by these names)
        return _video_frame(made.frame(n), n / rate, 1 / rate)

    return blank.std.ModifyFrame(clips=blank, selector=selected)


class _Clip:
    """The frames of a clip as frames of ours."""

    def __init__(self, clip: Any) -> None:
        self._clip = clip
        self._rate = Fraction(clip.fps)
        self._next_is_cut = (-1, False)  # number of a frame, and whether a scene begins there

    def frame(self, number: int) -> Frame:
        """Return a source frame by its number. Raises InputError for one of two fields."""
        frame = self._clip.get_frame(number)
        properties = frame.props
        if properties.get("_FieldBased", 0):
            raise InputError(
                f"frame {number} is interlaced: deinterlace first, or say that it is not: "
                "clip.std.SetFieldBased(0)"
            )
        cut = bool(properties.get("_SceneChangePrev", 0))
        cut = cut or self._next_is_cut == (number, True)
        self._next_is_cut = number + 1, bool(properties.get("_SceneChangeNext", 0))
        return Frame(
            time=number / self._rate,
            planes=tuple(np.asarray(frame[plane]) for plane in range(frame.format.num_planes)),
            origin=frame,
            duration=1 / self._rate,
            spliced=cut,
        )


def _rate(numerator: Any, denominator: Any) -> Fraction:
    try:
        rate = Fraction(numerator, denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise OptionError(
            f"fps_num={numerator!r}, fps_den={denominator!r}: give whole numbers above 0"
        )
    return rate


def _checked(clip: Any) -> Any:
    """Return the clip. Raises InputError for what cannot be interpolated."""
    form = clip.format
    if form is None or not clip.width:
        raise InputError("the clip's format or size varies: clip.resize.Bicubic(...) makes it one")
    if not clip.fps:
        raise InputError("the clip's rate varies: clip.std.AssumeFPS(fpsnum=...) makes it constant")
    if form.sample_type.name != "INTEGER" or form.bits_per_sample > 16:
        whole = form.replace(sample_type=0, bits_per_sample=16).name
        raise InputError(
            f"a clip of {form.name}; integers of 8 to 16 bits are interpolated: "
            f"clip.resize.Point(format=vs.{whole})"
        )
    return clip


def _info(clip: Any, first: Any) -> VideoInfo:
    """Describe a clip. first: its first frame."""
    form, depth = clip.format, clip.format.bits_per_sample
    family = form.color_family.name
    layout, sampling = [], (form.subsampling_w, form.subsampling_h)
    for number, role in enumerate(FAMILIES[family]):
        chroma = number > 0 and family == "YUV"
        x, y = sampling if chroma else (0, 0)
        layout.append(PlaneShape(role, clip.width >> x, clip.height >> y, x, y, depth))
    yuv = f"yuv{SAMPLINGS.get(sampling, sampling)}p"
    name = {"GRAY": "gray", "RGB": "rgb"}.get(family, yuv)
    rate = Fraction(clip.fps)
    return VideoInfo(
        width=clip.width,
        height=clip.height,
        pix_fmt=f"{name}{depth}" if family == "RGB" else name + (f"{depth}le" if depth > 8 else ""),
        layout=tuple(layout),
        rate=rate,
        interval=1 / rate,
        color=_color(first.props),
    )


def _color(properties: Any) -> ColorInfo:
    """Return what a frame's properties say of its colours."""
    known = properties.get("_Range")  # 0 limited, 1 full
    if known is None and (limited := properties.get("_ColorRange")) is not None:
        known = 1 - int(limited)  # as older releases have it
    location = properties.get("_ChromaLocation")  # counted from 0, left
    return ColorInfo(
        matrix=int(properties.get("_Matrix", 2)),
        range=0 if known is None else 1 + int(known),
        primaries=int(properties.get("_Primaries", 2)),
        transfer=int(properties.get("_Transfer", 2)),
        chroma_location=0 if location is None else int(location) + 1,
    )


def _video_frame(frame: Frame, time: Fraction, duration: Fraction) -> Any:
    """Return an output frame as VapourSynth's, shown at `time` for `duration`, seconds."""
    out = frame.origin.copy()
    if frame.made is Made.INTERPOLATED:
        for number, plane in enumerate(frame.planes):
            np.copyto(np.asarray(out[number]), plane)
    properties = out.props
    if frame.made is not Made.SOURCE:
        for name in ("_SceneChangePrev", "_SceneChangeNext"):
            if name in properties:
                del properties[name]
    properties["_DurationNum"], properties["_DurationDen"] = duration.as_integer_ratio()
    if "_AbsoluteTime" in properties:
        properties["_AbsoluteTime"] = float(time)
    properties[MADE] = frame.made.value
    return out
