"""How Sphinx builds the pages of this folder and the API reference: `make docs`.

Pages are Markdown (MyST). Docstrings are reStructuredText with Google's sections (Args, Returns,
Raises); what stands in single backquotes is code.
"""

import re
from pathlib import Path

import sphinx.pycode.parser
from sphinx.application import Sphinx

import ltxfilter

# The comment at the end of a field's line documents the field, as "#:" does for Sphinx.
sphinx.pycode.parser.comment_re = re.compile(r"^\s*#(?! noqa| type:):? ?(.*)\r?\n?$")

project = "ltxfilter"
copyright = "the authors of ltxfilter, Apache-2.0"  # noqa: A001  (Sphinx names it)
version = release = ltxfilter.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
default_role = "code"
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"ltxfilter {version}"
html_copy_source = False


# What axe-core finds in the theme's pages and in Sphinx's, and how they have to be.
MENDED = {
    'role="heading">': 'role="heading" aria-level="2">',
    '<aside class="sidebar-drawer"': '<aside aria-label="Pages" class="sidebar-drawer"',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    "<pre>": '<pre tabindex="0">',  # it may have to be scrolled, by keyboard too
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<th class="head"><p></p></th>': "<td></td>",
}
SEARCH = '<h1 style="position: absolute; left: -999rem">Search</h1>'  # its page has no heading
PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")  # of a signature; a list needs terms


def mend(page: str) -> str:
    """Return a page that can be used by keyboard and read by screen readers."""
    for wrong, right in MENDED.items():
        page = page.replace(wrong, right)
    indented = '<div style="margin-left: 2rem">'
    return PARAMETERS.sub(
        lambda found: found[1].replace("<dd>", indented).replace("</dd>", "</div>"), page
    )


def setup(app: Sphinx) -> None:
    """Let links to CONTRIBUTING.md, which is outside of this folder, lead to its page here."""

    def moved(_app: Sphinx, _page: str, source: list[str]) -> None:
        source[0] = source[0].replace("](../CONTRIBUTING.md", "](contributing.md")

    app.connect("source-read", moved)

    def mended(app: Sphinx, error: Exception | None) -> None:
        if error is not None or app.builder.format != "html":
            return
        for path in Path(app.outdir).rglob("*.html"):
            page = mend(path.read_text())
            if path.name == "search.html":
                page = page.replace("<noscript>", f"{SEARCH}<noscript>", 1)
            path.write_text(page)

    app.connect("build-finished", mended)
