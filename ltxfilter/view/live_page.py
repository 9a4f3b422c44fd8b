"""The page of the live view: empty places that its script fills every second."""

from __future__ import annotations

from ltxfilter.view.components import EmbeddedPicture, compared
from ltxfilter.view.document import Section, page

# A transparent picture of one pixel, until there is a frame.
NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def live_page(title: str) -> str:
    """Return the page of a run that reads or writes `title`."""
    pictures = [
        EmbeddedPicture(NOTHING, "The source frame before", "Before", 16, 9),
        EmbeddedPicture(NOTHING, "The newest interpolated frame", "Interpolated", 16, 9),
    ]
    progress = (
        '<p id="state" role="status">Waiting for the run.</p>'
        '<label class="bar">Done <progress id="done" max="1"></progress></label>'
        '<dl class="facts" id="facts"></dl>'
    )
    load = (
        '<div id="load"></div><p id="bottleneck" class="soft"></p>'
        '<h3>Memory</h3><div id="memory"></div>'
        '<div id="workers"></div>'
    )
    sections = [
        Section("progress", "Progress", progress),
        Section(
            "newest", "Newest frames", '<div id="pair" hidden>'
            + compared(pictures, "The newest interpolated frame and the source frame before it.")
            + '</div><p id="no-pair" class="soft">No frame is interpolated yet.</p>'
            '<p id="pair-facts" class="soft"></p>',
        ),
        Section("stages", "Load of the stages", load),
    ]  # fmt: skip
    return page(f"Live: {title}", sections, scripts=("live.js",), kind="live view", served=True)
