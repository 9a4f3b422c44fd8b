"""The report of a job: what workers saw, with the pictures that they made."""

from __future__ import annotations

import json
from pathlib import Path

from support.html_pages import HtmlPage

from ltxfilter import convert


def test_a_page_of_a_job_has_what_its_workers_saw(film: Path, tmp_path: Path):
    reports = [tmp_path / "r.html", tmp_path / "r.json"]
    done = convert(
        film, tmp_path / "out.mkv", fps=40, engine="flow", workers=1, segment_seconds=10,
        report=reports,
    )  # fmt: skip
    found = json.loads(reports[1].read_text())
    page = HtmlPage(reports[0].read_text())
    assert done.verified == done.passed == found["statistics"]["verified"] > 0
    assert done.altered == 0
    assert done.outcome.engines == {"flow": done.interpolated}
    assert page.data("figures")["statistics"] == found["statistics"]
    figures = [each for each in page.all("figure") if each.get("class") == "pair"]
    assert 2 <= len(figures) <= 12
    times = page.data("timeline-data")
    assert sum(times["made"]["flow"]) == done.interpolated
    assert found["statistics"]["busy"]["interpolate"] > 0
    assert "Segments that each worker made" in page.texts["time"]
    assert "of segments there is no common digest" in page.texts["proof"]
