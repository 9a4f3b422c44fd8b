"""The built pages of the documentation in headless Chromium.

`make docs` builds them; DOCS_SITE names another folder than build/docs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import chromium, requested, skip_without_browser, violations
from support.tools import ROOT

SITE = Path(os.environ.get("DOCS_SITE", ROOT / "build" / "docs"))
PAGES = sorted(SITE.glob("*.html")) + sorted(SITE.glob("api/*.html"))

pytestmark = pytest.mark.slow
skip_without_browser()
if not PAGES:
    pytest.skip("the documentation is not built", allow_module_level=True)


@pytest.fixture(scope="module", params=[("light", 1200), ("dark", 1200), ("light", 400)])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    theme, width = request.param
    with chromium(tmp_path_factory.mktemp("profile"), width, theme) as driver:
        yield driver


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_asks_nobody_and_reports_nothing(browser: Any, page: Path):
    requested(browser)
    browser.get(page.as_uri())
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [url for url in requested(browser) if not url.startswith("file:")]
    wide = browser.execute_script("return document.body.scrollWidth - window.innerWidth")
    assert wide <= 0, "the page has to be scrolled sideways"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_axe_finds_nothing(browser: Any, page: Path):
    browser.get(page.as_uri())
    assert violations(browser) == []


def test_every_link_within_the_site_leads_somewhere(browser: Any):
    for page in PAGES:
        browser.get(page.as_uri())
        links = browser.execute_script("return [...document.links].map((each) => each.href)")
        inside = {url.split("#")[0] for url in links if url.startswith("file:")}
        assert not [url for url in inside if not Path(url.removeprefix("file://")).exists()]
