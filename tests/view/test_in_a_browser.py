"""Pages in headless Chromium: every control with the mouse and the keyboard, no error, no request.

They need Chromium, its driver and the package selenium; accessibility is judged by axe-core, whose
axe.min.js the variable AXE_CORE names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bad_clip import write_bad_clip
from support.tools import ltxfilter, run_pipe

pytest.importorskip("selenium", reason="selenium is not installed")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = pytest.mark.slow

WIDTHS = {"desk": 1200, "phone": 400}
SHOWN = """
return [...arguments[0].querySelectorAll('.stage img')].filter(
  (each) => getComputedStyle(each).visibility === 'visible').map(
  (each) => each.alt.split(':')[0].split(' ')[0] + ' ' + each.style.clipPath)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    source = write_bad_clip(folder / "bad.ts")
    words = ["-i", source, "--fps", "50", "-no-cuts", "--engine", "flow", "-y"]
    done = run_pipe(ltxfilter(*words, "--report", folder / "r.html", folder / "out.mkv"))
    assert done.codes == [0], done.err
    return (folder / "r.html").as_uri()


@pytest.fixture(params=[("desk", "light"), ("desk", "dark"), ("phone", "light")], ids="-".join)
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chrome]:
    width, theme = request.param
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    try:
        metrics = {"width": WIDTHS[width], "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": theme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield driver
    finally:
        driver.quit()


def requests(browser: Chrome) -> list[str]:
    """Return the addresses that were asked for since the last call, the browser's own left out."""
    logs = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each for each in logs if each["method"] == "Network.requestWillBeSent"]
    urls = [each["params"]["request"]["url"] for each in sent]
    return [url for url in urls if not url.startswith(("chrome:", "data:"))]


def violations(browser: Chrome) -> list[Any]:
    """Return what axe-core finds, all details opened."""
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


def test_the_page_asks_for_nothing_and_reports_no_error(browser: Chrome, report: str):
    browser.get(report)
    browser.find_element(By.CSS_SELECTOR, ".uplot canvas")
    assert requests(browser) == [report]
    assert browser.get_log("browser") == []
    width, shown = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert width <= shown


def test_axe_finds_no_violation(browser: Chrome, report: str):
    browser.get(report)
    assert violations(browser) == []
    Select(browser.find_element(By.CSS_SELECTOR, "[data-theme-choice]")).select_by_value("dark")
    assert violations(browser) == []


def test_pictures_are_compared_with_the_mouse_and_with_the_keyboard(browser: Chrome, report: str):
    browser.get(report)
    pair = browser.find_element(By.CSS_SELECTOR, "[data-pair]")
    wipe = pair.find_element(By.CSS_SELECTOR, "[data-wipe]")
    flip = pair.find_element(By.CSS_SELECTOR, "[data-flip]")
    said = pair.find_element(By.CSS_SELECTOR, "[data-shown]")

    def shown() -> list[str]:
        return list(browser.execute_script(SHOWN, pair))

    assert shown() == ["Before inset(0px 50% 0px 0px)", "Interpolated none"]
    wipe.send_keys(Keys.ARROW_RIGHT)
    assert shown()[0] == "Before inset(0px 49% 0px 0px)"
    flip.send_keys(Keys.ENTER)
    assert said.text == "Shown: Before"
    flip.send_keys(Keys.SPACE)
    assert said.text == "Shown: Interpolated"
    flip.click()
    assert said.text == "Shown: Before"
    Select(pair.find_element(By.CSS_SELECTOR, "[data-right]")).select_by_visible_text("Motion")
    assert shown()[1].startswith("Motion")
    after = pair.find_elements(By.CSS_SELECTOR, "[data-strip] button")[2]
    after.send_keys(Keys.ENTER)
    assert said.text == "Shown: After"
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", pair)
    after.find_element(By.XPATH, "preceding-sibling::button[1]").click()
    assert said.text == "Shown: Interpolated"


def test_the_moment_is_told_with_the_keyboard(browser: Chrome, report: str):
    browser.get(report)
    slider = browser.find_element(By.CSS_SELECTOR, "[data-moment]")
    reading = browser.find_element(By.CSS_SELECTOR, "[data-reading]")
    first = reading.text
    assert "frames: source" in first
    slider.send_keys(Keys.END)
    assert reading.text != first
    slider.send_keys(Keys.HOME)
    assert reading.text == first


def test_colours_follow_the_choice(browser: Chrome, report: str):
    browser.get(report)
    choice = Select(browser.find_element(By.CSS_SELECTOR, "[data-theme-choice]"))

    def back() -> str:
        script = "return getComputedStyle(document.documentElement).backgroundColor"
        return str(browser.execute_script(script))

    choice.select_by_value("light")
    assert back() == "rgb(255, 255, 255)"
    choice.select_by_value("dark")
    assert back() == "rgb(18, 22, 27)"
    assert browser.get_log("browser") == []
