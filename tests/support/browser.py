"""Headless Chromium for tests of pages: what it shows, asks for and reports.

It needs Chromium, its driver and the package selenium; accessibility is judged by axe-core, whose
axe.min.js the variable AXE_CORE names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

HEIGHT = 900  # pixels of the window


def skip_without_browser() -> None:
    """Skip the calling test module where there is no browser."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)


@contextmanager
def chromium(folder: Path, width: int, theme: str = "light") -> Iterator[Any]:
    """Open a browser; width: of its window, pixels. theme: what the system is said to prefer."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", f"--user-data-dir={folder}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    try:
        metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": theme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield driver
    finally:
        driver.quit()


def requested(browser: Any) -> list[str]:
    """Return the addresses that were asked for since the last call, the browser's own left out."""
    logs = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each for each in logs if each["method"] == "Network.requestWillBeSent"]
    urls = [each["params"]["request"]["url"] for each in sent]
    return [url for url in urls if not url.startswith(("chrome:", "data:"))]


def violations(browser: Any) -> list[Any]:
    """Return what axe-core finds, all details opened; skip the test where it is missing."""
    browser.execute_script(
        "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
    )
    axe = Path(os.environ.get("AXE_CORE", ""))
    if not axe.is_file():
        pytest.skip("axe-core is not installed: AXE_CORE names its axe.min.js")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe.read_text()})
    found = browser.execute_async_script(
        "axe.run(document).then((all) => arguments[0](all.violations.map("
        "(each) => [each.id, each.nodes.map((node) => node.html)])))"
    )
    return list(found)


def pixels(element: Any) -> np.ndarray:
    """Return what an element looks like, [H, W, 3] uint8."""
    found = cv2.imdecode(np.frombuffer(element.screenshot_as_png, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(found)
