"""The page of a comparison in headless Chromium; see `support/browser.py` for what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import chromium, pixels, requested, skip_without_browser, violations
from support.small_clips import info_of, moving, write

from ltxfilter.compare.request import CompareOptions
from ltxfilter.compare.session import compare_clip

skip_without_browser()

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = pytest.mark.slow

WIDTHS = {"desk": 1200, "phone": 400}
LINE = 3  # pixels to either side of the middle of the slider's line that are not the picture's


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the addresses of a comparison of engines, and of one of equal files."""
    folder, info = tmp_path_factory.mktemp("pages"), info_of(301, 203)
    frames = moving(9, info, 2)
    clip = write(folder / "a.y4m", frames, info)
    twin = write(folder / "b.y4m", frames, info)
    asked = {"clip": str(clip), "worst": 2, "ffmpeg": "/nowhere"}
    engines = CompareOptions(engines=("hold", "flow"), folder=str(folder / "engines"), **asked)  # type: ignore[arg-type]
    equal = CompareOptions(others=(str(twin),), step=1, folder=str(folder / "equal"), **asked)  # type: ignore[arg-type]
    for options in (engines, equal):
        compare_clip(options)
    return {name: (folder / name / "index.html").as_uri() for name in ("engines", "equal")}


@pytest.fixture(params=[("desk", "light"), ("desk", "dark"), ("phone", "light")], ids="-".join)
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    width, theme = request.param
    with chromium(tmp_path, WIDTHS[width], theme) as driver:
        yield driver


def opened(browser: Any, address: str) -> tuple[Any, Any, Any]:
    """Open a page; return its first pair of pictures, their stage, and the slider."""
    browser.get(address)
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    pair = browser.find_element(By.CSS_SELECTOR, "[data-pair]")
    stage = pair.find_element(By.CSS_SELECTOR, ".stage")
    return pair, stage, pair.find_element(By.CSS_SELECTOR, "[data-wipe]")


def move_to(wipe: Any, percent: int) -> None:
    """Move the slider with the keyboard."""
    wipe.send_keys(Keys.HOME)
    assert wipe.get_attribute("value") == "0"
    wipe.send_keys(Keys.ARROW_RIGHT * percent)
    assert wipe.get_attribute("value") == str(percent)


def at_natural_size(browser: Any, stage: Any) -> None:
    """Show a stage at the size of its pictures, at whole pixels, so that nothing is resampled."""
    browser.execute_script(
        "const stage = arguments[0], picture = stage.querySelector('img');"
        "Object.assign(stage.style, {position: 'fixed', left: 0, top: 0, zIndex: 9});"
        "stage.style.width = picture.naturalWidth + 'px';",
        stage,
    )


@pytest.mark.parametrize("natural", [True, False], ids=["natural", "fitted"])
@pytest.mark.parametrize("name", ["engines", "equal"])
def test_each_side_of_the_line_is_one_picture_to_the_pixel(
    browser: Any, pages: dict[str, str], name: str, natural: bool
):
    _, stage, wipe = opened(browser, pages[name])
    if natural:
        at_natural_size(browser, stage)
    move_to(wipe, 100)
    left = pixels(stage)
    move_to(wipe, 0)
    right = pixels(stage)
    assert left.shape == right.shape
    assert not natural or left.shape[:2] == (203, 301)
    assert unlike(left, right).mean() > 0.05 or name == "equal"
    for percent in (13, 50, 86):
        move_to(wipe, percent)
        shown = pixels(stage)
        at = int(percent * shown.shape[1] / 100)
        beside = unlike(shown, left)[:, : at - LINE], unlike(shown, right)[:, at + LINE + 1 :]
        for side in beside:  # Chromium resamples a few pixels differently from time to time
            assert side.mean() <= (0 if natural else 0.02)
        if name == "equal" and natural:
            assert not unlike(left, right).any()


def unlike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != b).any(2)


def test_the_pictures_are_those_of_the_frame(browser: Any, pages: dict[str, str]):
    pair, stage, wipe = opened(browser, pages["engines"])
    names = [each.text for each in pair.find_elements(By.CSS_SELECTOR, "[data-left] option")]
    assert [name.partition(",")[0] for name in names] == ["true", "hold", "flow"]
    right = Select(pair.find_element(By.CSS_SELECTOR, "[data-right]"))
    assert right.first_selected_option.text == names[2]
    at_natural_size(browser, stage)
    move_to(wipe, 100)
    true = pixels(stage).astype(int)
    move_to(wipe, 0)
    off = {}
    for name in names[1:]:
        right.select_by_visible_text(name)
        off[name.partition(",")[0]] = np.abs(pixels(stage) - true).mean()
    assert off["flow"] < off["hold"] / 2


def test_every_control_works_with_mouse_and_keyboard(browser: Any, pages: dict[str, str]):
    pair, stage, wipe = opened(browser, pages["engines"])
    said = pair.find_element(By.CSS_SELECTOR, "[data-shown]")
    flip = pair.find_element(By.CSS_SELECTOR, "[data-flip]")
    flip.send_keys(Keys.SPACE)
    assert said.text == "Shown: true"
    flip.click()
    assert said.text.startswith("Shown: flow")
    quarter = stage.size["width"] // 4
    mouse = ActionChains(browser).move_to_element_with_offset(stage, -quarter, 0)
    mouse.click_and_hold().move_by_offset(2 * quarter, 0).release().perform()
    assert 73 <= int(wipe.get_attribute("value")) <= 77
    left = pair.find_element(By.CSS_SELECTOR, "[data-left]")
    left.send_keys("hold")
    assert said.text.startswith("Left of the line: hold")
    contents = browser.find_elements(By.CSS_SELECTOR, "nav a")
    contents[-1].send_keys(Keys.ENTER)
    assert browser.current_url.endswith("#about")
    fold = browser.find_element(By.TAG_NAME, "summary")
    fold.send_keys(Keys.ENTER)
    assert browser.find_element(By.TAG_NAME, "details").get_attribute("open")
    assert browser.get_log("browser") == []


def test_nothing_is_asked_for_and_nothing_is_wider_than_the_window(
    browser: Any, pages: dict[str, str]
):
    for address in pages.values():
        browser.get(address)
        assert requested(browser) == [address]
        assert browser.get_log("browser") == []
        width, shown = browser.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth]"
        )
        assert width <= shown


def test_axe_finds_no_violation(browser: Any, pages: dict[str, str]):
    for address in pages.values():
        browser.get(address)
        assert violations(browser) == []
