"""Read RTSP of a real server, over UDP and TCP, and stop it: run by hand.

    apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-bad
    python benchmarks/rtsp.py --server-python /usr/bin/python3

The server is Debian's gst-rtsp-server, which that Python can import; the ltxfilter is the one of
this Python. Prints seconds, frames and exit codes.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import av

SERVER = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_address("127.0.0.1")
server.set_service("0")
factory.set_launch("( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,"
    "framerate=25/1 ! openh264enc gop-size=25 ! h264parse ! rtph264pay name=pay0 pt=96 )")
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
SECONDS = 6  # that are read before the signal


def read(address: str, transport: str, folder: str) -> None:
    """Read for some seconds, send SIGINT, and print what came of it."""
    output = Path(folder) / f"{transport}.mkv"
    words = ["-v", "warning", "--engine", "flow", "-rtsp_transport", transport, "-i", address]
    command = [sys.executable, "-m", "ltxfilter", *words, str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        sleep(SECONDS)
        began = monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    with av.open(f"{output}.part") as container:
        frames = sum(1 for _ in container.decode(video=0))
    ended = f"ended with {process.returncode} {monotonic() - began:.2f} s after SIGINT"
    print(f"{transport}: {frames} frames in {SECONDS} s; {ended}; {said.strip()}")


def main() -> None:
    """Start the server and read from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server-python", default="/usr/bin/python3")
    python = parser.parse_args().server_python
    with subprocess.Popen([python, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with tempfile.TemporaryDirectory() as folder:
                for transport in ("tcp", "udp"):
                    read(f"rtsp://127.0.0.1:{port}/live", transport, folder)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
