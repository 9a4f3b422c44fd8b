"""Pixel formats by FFmpeg's names: plane shapes, and the planar twins of packed formats."""

from __future__ import annotations

from functools import lru_cache

import av

from ltxfilter.errors import InputError
from ltxfilter.frame import PlaneShape

MAX_PIXELS = 2 * 8192 * 4320  # of one picture; a header that claims more is damaged or hostile

# Packed format -> planar format of the same samples: swscale rearranges these without loss. A name
# that ends in "le" stands for both byte orders.
PLANAR_TWINS = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p212le": "yuv422p12le",
    "p216le": "yuv422p16le",
    "p410le": "yuv444p10le",
    "p412le": "yuv444p12le",
    "p416le": "yuv444p16le",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    "y216le": "yuv422p16le",
    "xv30le": "yuv444p10le",
    "v30xle": "yuv444p10le",
    "xv36le": "yuv444p12le",
    "xv48le": "yuv444p16le",
    "vyu444": "yuv444p",
    "vuyx": "yuv444p",
    "vuya": "yuva444p",
    "ayuv": "yuva444p",
    "uyva": "yuva444p",
    "ayuv64le": "yuva444p16le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "pal8": "gbrap",
    "rgb8": "gbrp",
    "bgr8": "gbrp",
    "rgb555le": "gbrp",
    "bgr555le": "gbrp",
    "rgb565le": "gbrp",
    "bgr565le": "gbrp",
    "rgb48le": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le",
    "bgra64le": "gbrap16le",
    "x2rgb10le": "gbrp10le",
    "x2bgr10le": "gbrp10le",
    "ya8": "yuva444p",  # no planar format holds gray and alpha alone
    "ya16le": "yuva444p16le",
    "monow": "gray",
    "monob": "gray",
}
# Floating-point format -> the nearest integer one. What is outside 0 to 1 is clipped.
FLOAT_TWINS = {"gbrpf32le": "gbrp16le", "gbrapf32le": "gbrap16le", "grayf32le": "gray16le"}
# What nothing interpolates or encodes as it is, and swscale turns into the nearest.
CONVERTED = {"xyz12le": "gbrp12le", **FLOAT_TWINS}
DETOURS = {  # swscale takes 31 of 5 bits for 248 of 255, unless it goes this way
    name + order: (name + "le", "rgb24")
    for name in ("rgb555", "bgr555", "rgb565", "bgr565")
    for order in ("le", "be")
}


def check_size(name: str, width: int, height: int) -> None:
    """Raise InputError if a picture of `width` x `height` pixels must not be allocated.

    name: what messages call the input.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: a picture of {width}x{height} is over the limit of {MAX_PIXELS} pixels"
        )


def planar_name(name: str) -> str:
    """Return the planar format that holds the samples of `name`; itself if it is planar.

    "yuvj420p" and the like become "yuv420p": the code range is stated by ColorInfo. What is in
    `CONVERTED` becomes another colour space, or integers.
    """
    if name.startswith("yuvj"):
        return "yuv" + name[4:]
    native = name[:-2] + "le" if name.endswith("be") else name
    return PLANAR_TWINS.get(native) or CONVERTED.get(native, native)


def keeps_samples(name: str) -> bool:
    """Return True if the planar format of `name` holds the same samples."""
    return name[:-2] + "le" not in CONVERTED


@lru_cache(maxsize=64)
def plane_shapes(name: str, width: int, height: int) -> tuple[PlaneShape, ...]:
    """Return the planes of a planar integer format of 8 to 16 bits in native byte order.

    width, height: of the picture, pixels. Raises InputError for a format that cannot be held.
    """
    try:
        fmt = av.VideoFormat(name, width, height)
    except ValueError:
        raise InputError(f"pixel format {name!r} is unknown to FFmpeg") from None
    by_plane = sorted(zip(_roles(fmt), fmt.components, strict=True), key=lambda pair: pair[1].plane)
    one_each = [component.plane for _, component in by_plane] == list(range(len(by_plane)))
    bits = {component.bits for _, component in by_plane}
    if (
        not one_each
        or min(bits, default=0) < 8
        or max(bits) > 16
        or "f" in name
        or fmt.is_big_endian
    ):
        raise InputError(
            f"pixel format {name} is not supported; convert it first, for example to yuv420p, "
            "yuv422p10le, yuv444p12le, gray or gbrp"
        )
    square = av.VideoFormat(name, 64, 64).components
    shifts = {component.plane: _shifts(component) for component in square}
    return tuple(
        PlaneShape(
            role, component.width, component.height, *shifts[component.plane], component.bits
        )
        for role, component in by_plane
    )


def _shifts(component: av.video.format.VideoFormatComponent) -> tuple[int, int]:
    """Return log2 of the subsampling across and down, of a component of a 64x64 picture."""
    return 6 - (component.width.bit_length() - 1), 6 - (component.height.bit_length() - 1)


def _roles(fmt: av.VideoFormat) -> list[str]:
    """Name the components in FFmpeg's order: luma or red first, alpha last."""
    count = len(fmt.components)
    color = "rgb" if fmt.is_rgb else "yuv"
    return list("ya" if count == 2 else (color + "a")[:count])
