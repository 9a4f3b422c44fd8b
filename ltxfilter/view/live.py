"""A page that shows how a run goes, for this machine alone: a small server on the loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self

from ltxfilter.errors import OutputError
from ltxfilter.pipeline.progress import Pace, Progress, bottleneck, busy
from ltxfilter.pipeline.resident import resident_bytes
from ltxfilter.view.live_page import live_page

log = logging.getLogger("ltxfilter.view")

HOST = "127.0.0.1"  # nobody else can reach it
PATIENCE = 5.0  # seconds that a browser has to send its request
OnProgress = Callable[[Progress], None]


class LiveView:
    """Serves the page while it is entered; `show` is what it shows."""

    def __init__(self, port: int, title: str) -> None:
        """Take the port; 0 takes a free one. Raises OutputError if it is taken."""
        self._state: dict[str, Any] = {}
        self._pictures: tuple[bytes, ...] = ()
        self._pair: object = None
        self._count = 0  # pairs that were shown
        self._pace = Pace()
        self._lock = Lock()
        self._page = live_page(title).encode()
        try:
            self._server = ThreadingHTTPServer((HOST, port), self._handler())
        except OSError as error:
            raise OutputError(
                f"--live-view {port}: {error.strerror or error}; choose another port, or 0"
            ) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="live view", daemon=True)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def show(self, progress: Progress) -> None:
        """Take a look at where the run stands."""
        self._pace.observe(progress)
        state = state_of(progress, self._pace)
        with self._lock:
            if progress.newest is not None and progress.newest is not self._pair:
                self._pair, self._count = progress.newest, self._count + 1
                self._pictures = progress.newest.pictures
            self._state = {**state, "pair": self._count}

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Return the media type and the content of a path; None if there is none."""
        with self._lock:
            state, pictures = self._state, self._pictures
        place = path.partition("?")[0]
        if place == "/":
            return "text/html; charset=utf-8", self._page
        if place == "/state.json":
            return "application/json", json.dumps(state).encode()
        if place in ("/before.jpg", "/interpolated.jpg") and pictures:
            return "image/jpeg", pictures[place == "/interpolated.jpg"]
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("live view: %s", self.address)
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        view = self

        class Handler(LiveHandler):
            """Answers for this view."""

            def found(self) -> tuple[str, bytes] | None:
                """Return what the view has."""
                return view.answer(self.path)

        return Handler


class LiveHandler(BaseHTTPRequestHandler):
    """Answers GET, and only to browsers that asked for this machine by its own name.

    A page of the web may resolve its name to 127.0.0.1; its requests carry that name as the host.
    """

    timeout = PATIENCE
    server_version, sys_version = "ltxfilter", ""

    def found(self) -> tuple[str, bytes] | None:
        """Return the media type and the content of the path; None if there is none."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a request."""
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(403)
            return
        found = self.found()
        if found is None:
            self.send_error(404)
            return
        kind, content = found
        self.send_response(200)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the browser is gone
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: standard error belongs to the run."""


def state_of(progress: Progress, pace: Pace) -> dict[str, Any]:
    """Return what the page shows, as JSON."""
    newest = progress.newest
    elapsed = max(progress.elapsed, 1e-6)
    return {
        "done": progress.done,
        "remaining": pace.remaining(progress),
        "speed": pace.speed,
        "elapsed": progress.elapsed,
        "out_time": float(progress.out_time),
        "frames": {
            "source frames decoded": progress.frames_in,
            "output frames": progress.frames_out,
            "passed through": progress.passed,
            "interpolated": progress.interpolated,
            "repeated": progress.repeated,
            "from a fallback": progress.fallbacks,
            "damaged": progress.corrupt,
        },
        "engines": progress.outcome.engines,
        "load": {
            name: round(min(seconds / elapsed / max(len(progress.workers), 1), 1.0), 3)
            for name, seconds in busy(progress).items()
        },
        "bottleneck": bottleneck(progress) if progress.stages else None,
        "memory": {"in_use": resident_bytes(), "set_aside": sum(progress.memory.values()) or None},
        "segments": dict(progress.segments),
        "workers": dict(progress.workers),
        "newest": None
        if newest is None
        else {
            "times": newest.times,
            "engine": newest.engine,
            "psnr_db": None if newest.psnr_db is None else round(newest.psnr_db, 1),
        },
    }
