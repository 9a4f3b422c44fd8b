"""Pages in headless Chromium: every control with the mouse and the keyboard, no error, no request.

`support/browser.py` says what they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest
from support.bad_clip import write_bad_clip
from support.browser import chromium, requested, skip_without_browser, violations
from support.tools import ltxfilter, run_pipe

from ltxfilter.media.stills.still import still_of_rgb
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.record.newest import FramePair
from ltxfilter.view.live import LiveView

skip_without_browser()

from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

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
    with chromium(tmp_path, WIDTHS[width], theme) as driver:
        yield driver


def test_the_page_asks_for_nothing_and_reports_no_error(browser: Chrome, report: str):
    browser.get(report)
    browser.find_element(By.CSS_SELECTOR, ".uplot canvas")
    assert requested(browser) == [report]
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


def test_the_moment_is_told_with_the_keyboard_and_the_mouse(browser: Chrome, report: str):
    browser.get(report)
    slider = browser.find_element(By.CSS_SELECTOR, "[data-moment]")
    reading = browser.find_element(By.CSS_SELECTOR, "[data-reading]")
    first = reading.text
    assert "frames: source" in first
    slider.send_keys(Keys.END)
    assert reading.text != first
    slider.send_keys(Keys.HOME)
    assert reading.text == first
    plot = browser.find_element(By.CSS_SELECTOR, ".u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(browser).move_to_element(plot).perform()
    WebDriverWait(browser, 10).until(lambda _: reading.text != first)
    middle = int(slider.get_attribute("max") or 0) // 2
    assert abs(int(slider.get_property("value")) - middle) <= 1


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


def test_the_live_view_fills_itself_and_says_when_it_is_over(browser: Chrome):
    progress = Progress(passed=5, interpolated=5, out_time=F(1), duration=F(4), elapsed=1.0)
    data = still_of_rgb(np.full((36, 64, 3), 90, np.uint8), "jpeg").data
    progress.newest = FramePair((0.0, 0.02), (data, data), (64, 36), "flow", 30.0)
    progress.memory = {"decode": 1 << 40}
    with LiveView(0, "film.mkv") as view:
        view.show(progress)
        browser.get(view.address)
        wait = WebDriverWait(browser, 10)
        wait.until(lambda _: "25.0 %" in browser.find_element(By.ID, "facts").text)
        wait.until(lambda _: browser.find_element(By.ID, "pair").is_displayed())
        assert "Working." in browser.find_element(By.ID, "state").text
        assert "by flow; 30 dB expected" in browser.find_element(By.ID, "pair-facts").text
        assert {url.partition("?")[0] for url in requested(browser)} == {
            view.address + path for path in ("", "state.json", "before.jpg", "interpolated.jpg")
        }
        assert browser.get_log("browser") == []
    wait.until(lambda _: "has ended" in browser.find_element(By.ID, "state").text)
    assert violations(browser) == []
