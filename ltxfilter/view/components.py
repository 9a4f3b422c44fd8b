"""Parts of pages: tables, lists of facts, pictures, and pictures laid over each other.

Everything here takes plain text and returns HTML, escaped. What a script moves (`assets/page.js`)
is built of native controls, so that it works with the mouse, with the keyboard alone, and with a
screen reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count

from ltxfilter.view.document import data_url

_numbers = count(1)  # of elements that labels and tables refer to


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture that stands in the page."""

    url: str  # a data: address
    alt: str  # what it shows, for those who do not see it
    label: str  # a word or two under which it is chosen: "Before"
    width: int  # pixels
    height: int  # pixels

    @classmethod
    def of(
        cls, data: bytes, kind: str, alt: str, label: str, size: tuple[int, int]
    ) -> EmbeddedPicture:
        """Embed a file. kind: "jpeg", "png" and so on; size: width and height in pixels."""
        return cls(data_url(data, f"image/{kind}"), alt, label, *size)


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML, where plain text is expected otherwise."""

    html: str


Cell = str | int | float | None | Markup


def text(value: Cell) -> str:
    """Return a value as HTML; None is a dash."""
    match value:
        case Markup():
            return value.html
        case None:
            return "\N{EN DASH}"
        case float():
            return f"{value:g}"
        case _:
            return escape(str(value))


def paragraph(content: Cell, kind: str = "") -> str:
    """Return a paragraph. kind: a class of the style sheet."""
    return f"<p{_class(kind)}>{text(content)}</p>"


def listed(items: Iterable[Cell], *, ordered: bool = False, kind: str = "") -> str:
    """Return a list. ordered: whether the order says something."""
    tag = "ol" if ordered else "ul"
    return f"<{tag}{_class(kind)}>{''.join(f'<li>{text(item)}</li>' for item in items)}</{tag}>"


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Return a list of names with their values."""
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts">{rows}</dl>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    caption: str,
    *,
    numeric: Iterable[int] = (),
) -> str:
    """Return a table that scrolls by itself where it is too wide.

    Args:
        head: The columns' names.
        rows: The cells, as many in each row; the first one names its row.
        caption: What the table shows, plain text.
        numeric: The columns, from 0, that are written flush right.
    """
    right = set(numeric)
    kinds = [_class("number" if at in right else "") for at in range(len(head))]
    top = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(_row(row, kinds) for row in rows)
    ident = f"table-{next(_numbers)}"
    return (
        f'<div class="scrolls" role="region" tabindex="0" aria-labelledby="{ident}">'
        f'<table><caption id="{ident}">{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def folded(summary: str, body: str, *, is_open: bool = False) -> str:
    """Return HTML that is shown once its summary, plain text, is opened."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{body}</details>"


def image(picture: EmbeddedPicture) -> str:
    """Return the picture alone."""
    return (
        f'<img src="{picture.url}" alt="{escape(picture.alt)}" width="{picture.width}" '
        f'height="{picture.height}">'
    )


def captioned(picture: EmbeddedPicture) -> str:
    """Return the picture with its label under it."""
    caption = f"<figcaption>{escape(picture.label)}</figcaption>"
    return f'<figure class="still">{image(picture)}{caption}</figure>'


def compared(
    pictures: Sequence[EmbeddedPicture],
    caption: Cell,
    *,
    first: int = 0,
    second: int = 1,
    strip: bool = False,
) -> str:
    """Return pictures of one size laid over each other, with a wipe slider and a flip button.

    Args:
        pictures: Two or more. Where there are more, lists choose which two are compared.
        caption: What is compared.
        first, second: The positions of the two that are shown at the beginning: left of the
            slider's line and right of it.
        strip: Whether all of them stand below, too, each a button that shows it alone.
    """
    number = next(_numbers)
    layers = "".join(image(picture) for picture in pictures)
    choices = "".join(
        _choice(f"pair-{number}-{side}", side, pictures, chosen)
        for side, chosen in (("left", first), ("right", second))
    )
    hidden = "" if len(pictures) > 2 else " hidden"
    wipe = f"pair-{number}-wipe"
    return (
        f'<figure class="pair" data-pair><div class="stage">{layers}<span class="line"></span>'
        "</div>"
        f'<div class="controls"><div class="choices"{hidden}>{choices}</div>'
        f'<label for="{wipe}">Wipe</label>'
        f'<input type="range" id="{wipe}" min="0" max="100" value="50" data-wipe>'
        '<button type="button" data-flip>Flip</button>'
        '<output data-shown aria-live="polite"></output></div>'
        f"{'<div class=strip data-strip></div>' if strip else ''}"
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def _choice(ident: str, side: str, pictures: Sequence[EmbeddedPicture], chosen: int) -> str:
    options = "".join(
        f'<option value="{at}"{" selected" if at == chosen else ""}>{escape(each.label)}</option>'
        for at, each in enumerate(pictures)
    )
    return (
        f'<label for="{ident}">{side.capitalize()}</label>'
        f'<select id="{ident}" data-{side}>{options}</select>'
    )


def _row(row: Sequence[Cell], kinds: Sequence[str]) -> str:
    first, *rest = ((kind, text(cell)) for cell, kind in zip(row, kinds, strict=True))
    cells = "".join(f"<td{kind}>{cell}</td>" for kind, cell in rest)
    return f'<tr><th scope="row"{first[0]}>{first[1]}</th>{cells}</tr>'


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
