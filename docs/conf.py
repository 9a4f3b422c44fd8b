"""How Sphinx builds the pages of this folder and the API reference: `make docs`.

Pages are Markdown (MyST). Docstrings are reStructuredText with Google's sections (Args, Returns,
Raises); what stands in single backquotes is code.
"""

import re

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
    "sphinxcontrib.mermaid",
]
default_role = "code"
exclude_patterns = ["_build"]
myst_fence_as_directive = ["mermaid"]
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


def setup(app: Sphinx) -> None:
    """Let links to CONTRIBUTING.md, which is outside of this folder, lead to its page here."""

    def moved(_app: Sphinx, _page: str, source: list[str]) -> None:
        source[0] = source[0].replace("](../CONTRIBUTING.md", "](contributing.md")

    app.connect("source-read", moved)
