"""Looks into HTML pages as a browser would: elements, links, text and embedded data."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "input", "br", "hr", "source"}
ADDRESSES = {"src", "href", "action", "data", "poster", "srcset"}


class HtmlPage(HTMLParser):
    """A parsed page; parsing fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []  # in order: tag, attributes
        self.texts: dict[str, str] = {}  # id -> all text inside that element
        self._open: list[tuple[str, str]] = []  # tag, id
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in VOID:
            self._open.append((tag, found.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for _, ident in self._open:
            if ident:
                self.texts[ident] = self.texts.get(ident, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for each, attributes in self.elements if each == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def addresses(self) -> list[str]:
        """Return what the page refers to."""
        return [
            value
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name in ADDRESSES
        ]

    def data(self, ident: str) -> Any:
        """Return what `embedded_data` put in."""
        return json.loads(self.texts[ident])
