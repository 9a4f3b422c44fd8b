"""The live view answers this machine alone, tells how the run goes, and ends with it."""

from __future__ import annotations

import json
import logging
import re
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.html_pages import HtmlPage
from support.tools import make_clip

from ltxfilter import convert
from ltxfilter.errors import OptionError, OutputError
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.record.newest import FramePair
from ltxfilter.view.live import HOST, LiveView


def ask(address: str, path: str = "/", host: str | None = None) -> tuple[int, bytes, str]:
    """Return the status, the body and its media type."""
    place = urlsplit(address)
    assert place.hostname == HOST
    connection = HTTPConnection(HOST, place.port or 0, timeout=10)
    try:
        connection.request("GET", path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Type"]
    finally:
        connection.close()


def test_the_view_tells_what_it_was_shown():
    progress = Progress(
        passed=10, interpolated=20, out_time=Fraction(1), duration=Fraction(4), elapsed=2.0,
        memory={"decode": 1 << 30}, workers={"process 1": 3}, segments={"planned": 5},
    )  # fmt: skip
    progress.newest = FramePair((0.5, 0.52), (b"before", b"made"), (64, 48), "flow", 33.33)
    with LiveView(0, "<film>.mkv") as view:
        assert ask(view.address, "/state.json")[1] == b"{}"
        assert ask(view.address, "/before.jpg")[0] == 404
        view.show(progress)
        state = json.loads(ask(view.address, "/state.json")[1])
        assert (state["done"], state["remaining"], state["speed"]) == (0.25, 6.0, 0.5)
        assert state["frames"]["interpolated"] == 20
        assert state["memory"]["set_aside"] == 1 << 30
        assert state["workers"] == {"process 1": 3}
        assert state["newest"] == {"times": [0.5, 0.52], "engine": "flow", "psnr_db": 33.3}
        assert ask(view.address, "/before.jpg?1") == (200, b"before", "image/jpeg")
        assert ask(view.address, "/interpolated.jpg?1")[1] == b"made"
        view.show(progress)
        assert json.loads(ask(view.address, "/state.json")[1])["pair"] == 1
        page = HtmlPage(ask(view.address)[1].decode())
        (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
        assert "connect-src 'self'" in policy
        assert page.all("title") == [{}]


def test_only_this_machine_by_its_own_name_is_answered():
    with LiveView(0, "x") as view:
        port = urlsplit(view.address).port
        for host in (f"localhost:{port}", f"{HOST}:{port}"):
            assert ask(view.address, "/", host)[0] == 200
        for host in (f"film.example:{port}", HOST, "", f"{HOST}:1"):
            assert ask(view.address, "/state.json", host)[0] == 403
        assert ask(view.address, "/etc/passwd")[0] == 404
        assert ask(view.address, "/../pyproject.toml")[0] == 404


def test_a_port_that_is_taken_is_refused_before_work(tmp_path: Path):
    clip = make_clip(tmp_path / "in.y4m", size="96x64", seconds=1)
    with LiveView(0, "x") as view:
        port = urlsplit(view.address).port
        with pytest.raises(OutputError, match=f"--live-view {port}: .*another port"):
            convert(clip, tmp_path / "out.y4m", engine="hold", live_view=port)
    assert not (tmp_path / "out.y4m").exists()
    with pytest.raises(OptionError, match="0 to 65535"):
        convert(clip, tmp_path / "out.y4m", engine="hold", live_view=70000)


@pytest.mark.parametrize("workers", [None, 1])
def test_a_run_shows_its_newest_frames_and_ends_with_it(
    workers: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("ltxfilter.pipeline.run.REPORT_SECONDS", 0.0)
    clip = make_clip(tmp_path / "in.mkv", "-g", "25", size="320x240", seconds=12)
    seen: list[dict[str, Any]] = []
    pictures: list[bytes] = []

    def look(progress: Progress) -> None:
        (address,) = re.findall(r"live view: (\S+)", caplog.text)
        if progress.newest is None or pictures:
            return
        seen.append(json.loads(ask(address, "/state.json")[1]))
        pictures.extend(ask(address, path)[1] for path in ("/before.jpg", "/interpolated.jpg"))

    with caplog.at_level(logging.INFO, "ltxfilter"):
        done = convert(
            clip, tmp_path / "out.mkv", engine="flow", workers=workers, segment_seconds=10,
            live_view=0, on_progress=look,
        )  # fmt: skip
    assert done.originals is None  # nobody asked for a report
    assert seen[0]["newest"]["engine"] == "flow"
    assert seen[0]["frames"]["output frames"] > 0
    assert [data[:3] for data in pictures] == [b"\xff\xd8\xff"] * 2
    (address,) = re.findall(r"live view: (\S+)", caplog.text)
    with pytest.raises(ConnectionRefusedError):
        ask(address)
