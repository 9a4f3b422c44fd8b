"""Everything that a source carries is kept by an output, or named before work: never neither."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

import ltxfilter
from ltxfilter.errors import LtxFilterError
from ltxfilter.media.carried.captions import CaptionWriter
from ltxfilter.media.carried.items import Item, Kind
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions

TARGETS = {  # name -> encoder; None takes the usual one
    "a.mkv": "libx264",
    "b.mkv": "libx265",
    "c.mkv": "ffv1",
    "d.mkv": "libsvtav1",
    "e.mp4": "libx264",
    "f.mov": "prores_ks",
    "g.ts": "libx264",
    "h.ts": "mpeg2video",
    "i.avi": "mpeg4",
    "j.webm": "libvpx-vp9",
    "k.flv": "libx264",
    "l.nut": None,
    "m.y4m": None,
    "n.yuv": None,
}
FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}
QUARTER = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a display matrix


def write(
    path: Path,
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    change: Callable[[av.Packet], bytes] | None = None,
    prepare: Callable[[av.container.OutputContainer, av.VideoStream], None] | None = None,
) -> Path:
    """Write four frames. change: returns other bytes for a packet. prepare: sets up the output."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "png":
            stream.pix_fmt = "rgb24"
        if prepare is not None:
            prepare(output, stream)
        for number in range(5):
            frame = av.VideoFrame(64, 48, stream.pix_fmt)
            for plane in frame.planes:
                plane.update(bytes([40 + 30 * number]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame if number < 4 else None):
                if change is not None:
                    made = av.Packet(change(packet))
                    made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
                    made.is_keyframe, made.stream = packet.is_keyframe, stream
                    packet = made
                output.mux(packet)
    return path


def rotated(folder: Path) -> Path:
    return write(folder / "in.mp4", prepare=lambda _, video: video.set_display_matrix(QUARTER))


def stereoscopic(folder: Path) -> Path:
    def tag(_: object, video: av.VideoStream) -> None:
        video.metadata["stereo_mode"] = "left_right"

    return write(folder / "in.mkv", prepare=tag)


def spherical(folder: Path) -> Path:
    """Add the box that cameras and Google's tool write into the track."""
    xml = (
        b'<?xml version="1.0"?><rdf:SphericalVideo '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        b'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">'
        b"<GSpherical:Spherical>true</GSpherical:Spherical>"
        b"<GSpherical:Stitched>true</GSpherical:Stitched>"
        b"<GSpherical:StitchingSoftware>a camera</GSpherical:StitchingSoftware>"
        b"<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>"
        b"</rdf:SphericalVideo>"
    )
    uuid = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
    box = struct.pack(">I4s", 24 + len(xml), b"uuid") + uuid + xml
    path = write(folder / "in.mp4")
    data = bytearray(path.read_bytes())
    movie = data.rindex(b"moov") - 4  # the last box, so that no offset changes
    track = data.index(b"trak", movie) - 4
    (end,) = struct.unpack_from(">I", data, track)
    for at in (movie, track):
        (size,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(box))
    data[track + end : track + end] = box
    path.write_bytes(data)
    return path


def graded(folder: Path) -> Path:
    display = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,50)"
    params = f"log-level=none:hdr10=1:master-display={display}:max-cll=1000,400"
    return write(folder / "in.mkv", "libx265", options={"x265-params": params})


def dynamic(folder: Path) -> Path:
    """Add an SEI message of HDR10+ (SMPTE ST 2094-40) to every frame."""
    fields = [(0xB5, 8), (0x3C, 16), (1, 16), (4, 8), (1, 8), (1, 2), (400, 27), (0, 1)]
    fields += [(1000, 17)] * 3 + [(500, 17), (0, 4), (0, 10), (0, 1), (0, 1), (0, 1)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    message = int(bits, 2).to_bytes(len(bits) // 8, "big")
    escaped = bytearray()
    for byte in bytes((4, len(message))) + message + b"\x80":
        if escaped[-2:] == b"\0\0" and byte < 4:
            escaped.append(3)
        escaped.append(byte)
    unit = b"\0\0\0\1\x4e\x01" + bytes(escaped)

    def change(packet: av.Packet) -> bytes:
        data = bytes(packet)
        at = data.rindex(b"\0\0\1") - 1
        return data[:at] + unit + data[at:]

    params = {"x265-params": "log-level=none:frame-threads=1:slices=1"}
    return write(folder / "in.mkv", "libx265", options=params, change=change)


def captioned(folder: Path) -> Path:
    writer = CaptionWriter("h264", Fraction(25))

    def change(packet: av.Packet) -> bytes:
        writer.add(packet.pts or 0, b"\xfc\xc8\xc5" + b"\xfd\x80\x80")
        return writer.into(packet.pts, bytes(packet)) or b""

    return write(folder / "in.mp4", options={"bf": "0"}, change=change)


def chunked(kind: bytes, body: bytes) -> Callable[[Path], Path]:
    """Return a maker of PNG pictures with a further chunk."""
    chunk = struct.pack(">I", len(body)) + kind + body
    chunk += struct.pack(">I", zlib.crc32(kind + body))

    def change(packet: av.Packet) -> bytes:
        data = bytes(packet)
        return data[:33] + chunk + data[33:]  # after its signature and header

    return lambda folder: write(folder / "in.mov", "png", change=change)


def timecoded(folder: Path) -> Path:
    def tag(output: av.container.OutputContainer, _: object) -> None:
        output.metadata["timecode"] = "01:00:00:10"

    return write(folder / "in.mov", prepare=tag)


def tagged(folder: Path) -> Path:
    def tag(output: av.container.OutputContainer, _: object) -> None:
        output.metadata.update({"TITLE": "A film", "LENS": "35 mm"})

    return write(folder / "in.mkv", prepare=tag)


def divided(folder: Path) -> Path:
    def tag(output: av.container.OutputContainer, _: object) -> None:
        output.set_chapters([{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000),
                              "metadata": {"title": "one"}}])  # fmt: skip

    return write(folder / "in.mkv", prepare=tag)


PROFILE = struct.pack(">I", 128) + b"lcms" + bytes(28) + b"acsp" + bytes(88)
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x04Abc\0\0\0\0\0"
SOURCES: dict[Kind, Callable[[Path], Path]] = {
    Kind.ROTATION: rotated,
    Kind.STEREO: stereoscopic,
    Kind.SPHERICAL: spherical,
    Kind.HDR_STATIC: graded,
    Kind.HDR_DYNAMIC: dynamic,
    Kind.CAPTIONS: captioned,
    Kind.ICC: chunked(b"iCCP", b"p\0\0" + zlib.compress(PROFILE)),
    Kind.EXIF: chunked(b"eXIf", EXIF),
    Kind.TIMECODE: timecoded,
    Kind.TAGS: tagged,
    Kind.CHAPTERS: divided,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """Return a file with each kind of item."""
    return {kind: make(tmp_path_factory.mktemp(kind.value)) for kind, make in SOURCES.items()}


def carried(path: Path) -> dict[Kind, Item]:
    source = open_source(InputOptions(path=str(path)))
    source.close()
    return {item.kind: item for item in source.carries}


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.value)
def test_each_kind_is_found(sources: dict[Kind, Path], kind: Kind):
    assert kind in carried(sources[kind])


def pairs() -> list[object]:
    """Return all pairs of a kind and a target; one in four runs with every test run."""
    found: list[object] = []
    for row, kind in enumerate(SOURCES):
        for column, target in enumerate(TARGETS):
            often = (row + column) % 4 == 0
            marks = () if often else (pytest.mark.slow,)
            found.append(pytest.param(kind, target, id=f"{kind.value} {target}", marks=marks))
    return found


@pytest.mark.parametrize(("kind", "target"), pairs())
def test_each_kind_is_kept_or_named(
    sources: dict[Kind, Path],
    kind: Kind,
    target: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    item = carried(sources[kind])[kind]
    out, codec = tmp_path / target, TARGETS[target]
    video = {"codec": codec} if codec else None
    if video and codec in FAST:
        video["preset"] = FAST[codec]
    refused = ""
    with caplog.at_level(logging.WARNING, "ltxfilter"):
        try:
            ltxfilter.convert(sources[kind], out, engine="hold", video=video)
        except LtxFilterError as error:  # it says before work what cannot be
            refused = str(error)
    if refused:
        assert not out.exists()
        return
    lines = [record.getMessage() for record in caplog.records]
    words = item.what if kind is not Kind.TAGS else "LENS"
    named = [line for line in lines if words in line]
    if kind is Kind.ROTATION:
        assert not named
        assert is_upright(out)
        return
    kept = target[-4:] not in (".yuv", ".y4m") and kept_in(out, kind)
    assert kept or named, lines
    assert not (kept and named), lines
    assert len(named) <= 1, lines


def kept_in(path: Path, kind: Kind) -> bool:
    if kind is Kind.TAGS:
        with av.open(str(path)) as container:
            return any(name.upper() == "LENS" for name in container.metadata)
    return kind in carried(path)


def is_upright(path: Path) -> bool:
    """Return True if a picture of 64x48 is shown as one of 48x64."""
    if path.suffix == ".yuv":
        return path.stat().st_size > 0  # it has no header: the next test looks at the samples
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    turned = frame.rotation % 180 != 0
    return (frame.height, frame.width)[:: -1 if turned else 1] == (64, 48)
