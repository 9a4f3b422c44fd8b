"""Servers on the loopback for tests of addresses; they take free ports and end with the test."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.tools import make_clip

SOUND = ["-f", "lavfi", "-i", "sine=d=4", "-c:a", "aac"]
VIDEO = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"]
DROPPED = 30000  # bytes


class ClipServer(ThreadingHTTPServer):
    """Serves the files of a folder by HTTP; how, says the first part of the path.

    /plain/: without ranges. /ranges/: with them. /stall/: half a file, then nothing more. /drop/:
    with ranges, but DROPPED bytes to who asks for all. /mute/: no answer. What is sent by POST or
    PUT is kept in `received`.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), ClipHandler)
        self.folder = folder
        self.ending = threading.Event()
        self.stalling = threading.Event()  # set once a client waits for what never comes
        self.asked: list[str] = []  # "PATH RANGE" of each request
        self.headers: list[dict[str, str]] = []
        self.received: dict[str, bytes] = {}

    def address(self, path: str, user: str = "") -> str:
        """Return the URL of a path."""
        return f"http://{user}127.0.0.1:{self.server_address[1]}{path}"


class ClipHandler(BaseHTTPRequestHandler):
    """Answers one request; see `ClipServer`."""

    protocol_version = "HTTP/1.1"
    server: ClipServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        wanted = self.headers.get("Range", "")
        self.server.asked.append(f"{self.path} {wanted}")
        self.server.headers.append(dict(self.headers.items()))
        _, way, name = self.path.partition("?")[0].split("/", 2)
        if way == "mute":
            self._hold()
        elif not (self.server.folder / name).is_file():
            self.send_error(404)
        else:
            self._send(way, (self.server.folder / name).read_bytes(), wanted)

    def _send(self, way: str, data: bytes, wanted: str) -> None:
        found = re.match(r"bytes=(\d+)-(\d*)", wanted)
        start = int(found[1]) if found and way in ("ranges", "drop") else 0
        end = int(found[2]) + 1 if found and found[2] else len(data)
        self.send_response(206 if start or (found and way == "ranges") else 200)
        if way in ("ranges", "drop"):
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        drops = way == "drop" and not start
        sent = data[:DROPPED] if drops else data[start : len(data) // 2 if way == "stall" else end]
        with suppress(ConnectionError):  # the client has what it wanted
            self.wfile.write(sent)
        if way == "stall":
            self._hold()
        self.close_connection = self.close_connection or drops

    def do_POST(self) -> None:
        """Keep what is sent in chunks."""
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        self.server.received[self.path] = b"".join(parts)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815

    def _hold(self) -> None:
        self.server.stalling.set()
        self.server.ending.wait()


@contextmanager
def serving(folder: Path) -> Iterator[ClipServer]:
    """Serve the files of a folder."""
    with ClipServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Listen by TCP; yield the socket and its address for libav."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"tcp://127.0.0.1:{server.getsockname()[1]}"


def sent_to(server: socket.socket, found: list[bytes]) -> threading.Thread:
    """Collect in a thread what the next client sends until it closes."""

    def collect() -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                found.append(data)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    return thread


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def net_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 4 s of 64x48 with sound: a.ts, a.mp4 (index last), and playlists."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a.ts", "a.mp4"):
        make_clip(folder / name, *SOUND, *VIDEO, seconds=4)
    segments = ["-hls_time", "1", "-hls_list_size", "0"]
    make_clip(folder / "list.m3u8", *SOUND, *VIDEO, *segments, seconds=4)
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n"
    local = f"{head}file:{folder / 'a.ts'}\n#EXT-X-ENDLIST\n"
    (folder / "local.m3u8").write_text(local)
    (folder / "local.ffconcat").write_text(f"ffconcat version 1.0\nfile 'file:{folder}/a.ts'\n")
    return folder


@pytest.fixture
def clip_server(net_clips: Path) -> Iterator[ClipServer]:
    """Serve the clips by HTTP."""
    with serving(net_clips) as server:
        yield server
