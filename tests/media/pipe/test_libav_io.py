from __future__ import annotations

import io

import av
import pytest

from ltxfilter.errors import Interrupted
from ltxfilter.media.pipe.libav_io import Reader, Writer


class Failing:
    """Gives or takes `good` bytes, then fails each time it is asked."""

    name = "failing"

    def __init__(self, good: bytes) -> None:
        self.good = io.BytesIO(good)
        self.failures = 0

    def read(self, size: int) -> bytes:
        return self.good.read(size) or self.fail()

    def write(self, data: bytes) -> int:
        return self.fail()

    def fail(self):
        self.failures += 1
        raise Interrupted(15)


def test_a_reader_fails_once_and_has_ended():
    stream = Failing(b"abc")
    reader = Reader(stream)
    assert reader.read(9) == b"abc"
    with pytest.raises(Interrupted):
        reader.read(9)
    assert reader.read(9) == b""
    assert stream.failures == 1


def test_a_writer_fails_once_and_forgets_the_rest():
    stream = Failing(b"")
    writer = Writer(stream)
    with pytest.raises(Interrupted):
        writer.write(b"abc")
    assert writer.write(b"defg") == 4
    assert stream.failures == 1


@pytest.mark.parametrize("kept", [30, 600, 2000])
def test_libav_never_makes_pyav_print(kept: int, tmp_path, capfd: pytest.CaptureFixture[str]):
    """A Matroska that breaks off is searched for its next cluster: libav reads on and on."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height = 64, 48
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(video.encode(None))
    stream = Failing((tmp_path / "a.mkv").read_bytes()[:kept])

    def read_all() -> None:
        with av.open(Reader(stream), format="matroska") as broken:
            for _ in broken.demux():
                pass

    with pytest.raises(Interrupted):
        read_all()
    assert capfd.readouterr().err == ""
