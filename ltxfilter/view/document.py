"""The shell of every page: one self-contained HTML file, light and dark, that asks for nothing.

A page is a title, an opening and sections. Style and scripts stand in the file; the page's
Content-Security-Policy names the scripts by their digests and forbids everything else, so that
nothing in a file name or a tag can run, and no request leaves the page.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from ltxfilter import __version__

UNSAFE_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
THEMES = (("auto", "As the system"), ("light", "Light"), ("dark", "Dark"))


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page, with a heading of its own."""

    ident: str  # of its element, for links: letters, digits and dashes
    title: str  # plain text
    body: str  # HTML


def page(
    title: str,
    sections: Sequence[Section],
    *,
    opening: str = "",
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    contents: bool = True,
    kind: str = "page",
    served: bool = False,
) -> str:
    """Return a whole HTML document.

    Args:
        title: Plain text; also its first heading.
        sections: The parts, in order.
        opening: HTML between the heading and the sections.
        scripts: Names of further files of `assets/`, run in this order before `page.js`.
        styles: Names of further style sheets of `assets/`.
        contents: Whether links to the sections come first.
        kind: What the file says of itself at its beginning; see `marker`.
        served: Whether it comes from a server of ours, which its scripts may ask for more.
    """
    codes = [asset(name) for name in (*scripts, "page.js")]
    sheets = [asset(name) for name in ("style.css", *styles)]
    policy = escape(_policy(codes, served=served))
    head = (
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="ltxfilter {escape(__version__)}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n"
        + "".join(f"<style>{sheet}</style>\n" for sheet in sheets)
    )
    links = _contents(sections) if contents and len(sections) > 1 else ""
    parts = "\n".join(map(_section, sections))
    return (
        f'{marker(kind)}<html lang="en">\n<head>\n{head}</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><h1>{escape(title)}</h1>{_theme_choice()}</header>\n"
        f'<main id="main" tabindex="-1">\n{opening}\n{links}{parts}\n</main>\n'
        + "".join(f"<script>{code}</script>\n" for code in codes)
        + "</body>\n</html>\n"
    )


def marker(kind: str) -> str:
    """Return how a page of a kind begins, by which an older one is known that may be replaced."""
    return f"<!DOCTYPE html>\n<!-- ltxfilter {kind} -->\n"


def embedded_data(ident: str, value: Any) -> str:
    """Return HTML that holds `value` as JSON, for a script: JSON.parse of the element's text."""
    text = json.dumps(value, separators=(",", ":"), default=str).translate(UNSAFE_IN_SCRIPT)
    return f'<script type="application/json" id="{escape(ident)}">{text}</script>'


def data_url(data: bytes, media_type: str) -> str:
    """Return an address that is the data itself; media_type: such as image/png."""
    return f"data:{media_type};base64,{b64encode(data).decode()}"


@cache
def asset(name: str) -> str:
    """Return the text of a file of `assets/`."""
    return (files("ltxfilter.view") / "assets" / name).read_text("utf-8")


def _policy(codes: Sequence[str], *, served: bool) -> str:
    """Return a policy that allows these scripts, styles of the page, and pictures in it.

    served: whether what the page's own server has is allowed, too.
    """
    digests = " ".join(
        f"'sha256-{b64encode(sha256(code.encode()).digest()).decode()}'" for code in codes
    )
    pictures, asked = ("data: 'self'", "'self'") if served else ("data:", "'none'")
    return (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; "
        f"img-src {pictures}; media-src data:; connect-src {asked}; base-uri 'none'; "
        "form-action 'none'"
    )


def _theme_choice() -> str:
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in THEMES)
    return f'<label class="theme">Colours <select data-theme-choice>{options}</select></label>'


def _contents(sections: Sequence[Section]) -> str:
    links = "".join(
        f'<li><a href="#{escape(each.ident)}">{escape(each.title)}</a></li>' for each in sections
    )
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n'


def _section(section: Section) -> str:
    ident = escape(section.ident)
    return (
        f'<section id="{ident}" aria-labelledby="{ident}-title">'
        f'<h2 id="{ident}-title">{escape(section.title)}</h2>\n{section.body}\n</section>'
    )
