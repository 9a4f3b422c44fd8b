from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from support.html_pages import HtmlPage

from ltxfilter.view.components import (
    EmbeddedPicture,
    Markup,
    captioned,
    compared,
    facts,
    folded,
    listed,
    paragraph,
    table,
)
from ltxfilter.view.document import Section, asset, embedded_data, page

HOSTILE = '</script><img src=x onerror="alert(1)">&\'"'
SCRIPTS = ("uPlot.iife.min.js",)


def shown(*bodies: str, **options: object) -> HtmlPage:
    sections = [Section(f"s{at}", HOSTILE, body) for at, body in enumerate(bodies)]
    return HtmlPage(page(HOSTILE, sections, scripts=SCRIPTS, styles=("uPlot.min.css",), **options))  # type: ignore[arg-type]


def some_pictures(count: int) -> list[EmbeddedPicture]:
    return [EmbeddedPicture.of(b"x", "png", HOSTILE, f"P{at}", (4, 2)) for at in range(count)]


def every_part() -> list[str]:
    return [
        paragraph(HOSTILE, "soft"),
        listed([HOSTILE, 3], ordered=True),
        facts([(HOSTILE, HOSTILE), ("none", None)]),
        table(["a", "b"], [[HOSTILE, 0.25]], HOSTILE, numeric=[1]),
        folded(HOSTILE, paragraph(Markup("<code>x</code>"))),
        captioned(some_pictures(1)[0]),
        compared(some_pictures(2), HOSTILE),
        compared(some_pictures(4), HOSTILE, first=1, second=3),
        embedded_data("numbers", {"text": HOSTILE}),
    ]


def test_a_page_refers_to_nothing_outside_itself():
    found = shown(*every_part())
    assert all(each.startswith(("data:", "#")) for each in found.addresses())
    targets = {each[1:] for each in found.addresses() if each.startswith("#")}
    assert targets <= set(found.ids())


def test_only_the_scripts_of_the_page_may_run():
    found = shown()
    (policy,) = [each["content"] for each in found.all("meta") if "http-equiv" in each]
    for name in (*SCRIPTS, "page.js"):
        digest = b64encode(sha256(asset(name).encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_text_is_never_markup():
    found = shown(*every_part())
    assert [each for each in found.all("img") if not each["src"].startswith("data:")] == []
    assert not any(name.startswith("on") for _, each in found.elements for name in each)
    assert found.data("numbers") == {"text": HOSTILE}


def test_elements_have_names_for_screen_readers():
    found = shown(*every_part())
    idents = found.ids()
    assert len(idents) == len(set(idents))
    labelled = {each["for"] for each in found.all("label") if "for" in each}
    assert {each["id"] for each in found.all("input")} <= labelled
    assert {each["id"] for each in found.all("select") if "id" in each} <= labelled
    assert all(each["alt"] == HOSTILE for each in found.all("img"))
    assert {each["aria-labelledby"] for _, each in found.elements if "aria-labelledby" in each} <= (
        set(idents)
    )


def test_two_pictures_have_a_slider_and_a_button_and_more_have_lists_that_choose():
    two, four = shown(compared(some_pictures(2), "x")), shown(compared(some_pictures(4), "x"))
    for found, hidden in ((two, True), (four, False)):
        assert len([each for each in found.all("input") if each["type"] == "range"]) == 1
        assert len([each for each in found.all("button") if "data-flip" in each]) == 1
        (choices,) = [each for each in found.all("div") if each.get("class") == "choices"]
        assert ("hidden" in choices) == hidden


def test_the_shell_is_small():
    assert len(page("x", [], scripts=SCRIPTS, styles=("uPlot.min.css",))) < 100_000
