"""Which FFmpeg libraries PyAV brings, and which encoders they have."""

from __future__ import annotations

from collections.abc import Iterable

import av


def library_versions() -> str:
    """Return PyAV's version and those of the FFmpeg libraries in it."""
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}"
        for name in ("libavcodec", "libavformat")
    )
    return f"{av.__version__} with {libraries}"


def encoders(names: Iterable[str]) -> list[str]:
    """Return those of the encoders `names` that FFmpeg was built with; hardware may be missing."""
    built = []
    for name in names:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        built.append(name)
    return built
