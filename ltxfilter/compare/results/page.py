"""The comparison as one page: the table, and the worst frames under a wipe slider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ltxfilter.compare.results.plot import psnr_plot
from ltxfilter.compare.results.table import TITLES, Comparisons, number
from ltxfilter.compare.worst import WorstFrame
from ltxfilter.media.stills.still import still_of_rgb
from ltxfilter.view.components import (
    Cell,
    EmbeddedPicture,
    compared,
    facts,
    folded,
    listed,
    paragraph,
    table,
)
from ltxfilter.view.document import Section, page

HDR = "The clip is HDR. Its codes are shown as they are, so that the pictures look dull here."


def comparison_page(found: Comparisons, worst: Sequence[WorstFrame]) -> str:
    """Return the page as HTML."""
    sections = [Section("scores", "Scores", _scores(found))]
    if found.frames > 1:
        sections.append(Section("along", "PSNR along the clip", psnr_plot(found.scores)))
    if worst:
        sections.append(Section("worst-frames", "Worst frames", _worst(found, worst)))
    sections.append(Section("about", "About this comparison", _about(found)))
    return page(f"Comparison: {Path(found.clip).name}", sections, opening=paragraph(verdict(found)))


def verdict(found: Comparisons) -> str:
    """Return in a sentence or two who came nearest."""
    levels = {each.name: each.summary()["psnr"] or 0.0 for each in found.scores}
    best, *rest = sorted(levels, key=lambda name: -levels[name])
    frames = f"{found.frames} frames were scored."
    if not rest:
        return f"{best} has a PSNR of {levels[best]:.2f} dB on average. {frames}"
    ahead = levels[best] - levels[rest[0]]
    if ahead < 0.005:
        return f"{best} and {rest[0]} come nearest to {found.reference}, equally by PSNR. {frames}"
    return (
        f"{best} comes nearest to {found.reference}, by PSNR {ahead:.2f} dB ahead of {rest[0]}. "
        f"{frames}"
    )


def _scores(found: Comparisons) -> str:
    keys = found.measures
    rows: list[list[Cell]] = []
    for scores in found.scores:
        summary = scores.summary()
        rows.append([scores.name, *(number(summary[key]) for key in keys)])
    head = ["", *(TITLES[key] for key in keys)]
    head[0] = "Engine or file"
    notes = [f"VMAF is missing: {reason}" for reason in found.without_vmaf]
    return table(
        head, rows, f"Means over {found.frames} frames", numeric=range(1, len(head))
    ) + listed([*found.legend, *notes, *found.notes], kind="soft")


def _worst(found: Comparisons, worst: Sequence[WorstFrame]) -> str:
    said = paragraph(
        f"The frames in which even the best picture is furthest from {found.reference}, the worst "
        "first. Drag the line or move the slider; Flip shows one whole picture, then the "
        "other."
    )
    if found.is_hdr:
        said += paragraph(HDR, "soft")
    return said + "".join(_figure(found, frame) for frame in worst)


def _figure(found: Comparisons, frame: WorstFrame) -> str:
    pictures = []
    for name, pixels in frame.pictures.items():
        still = still_of_rgb(pixels, "jpeg")
        level = "" if name not in frame.psnr else f", {frame.psnr[name]:.1f} dB"
        alt = f"Frame {frame.index} of {Path(found.clip).name}: {name}{level}"
        size = still.width, still.height
        pictures.append(EmbeddedPicture.of(still.data, still.kind, alt, f"{name}{level}", size))
    best = max(frame.psnr, key=lambda name: frame.psnr[name])
    second = list(frame.pictures).index(best)
    return compared(pictures, f"Frame {frame.index}, at {frame.time:.3f} s", second=second)


def _about(found: Comparisons) -> str:
    about = found.about
    step = about["step"]
    if step > 1:
        how = (
            f"The engines saw every {_nth(step)} frame of the clip and interpolated the others, "
            "which are compared here with the true ones."
        )
    else:
        how = f"Every frame of the files is compared with the same frame of {found.clip}."
    pairs: list[tuple[str, Cell]] = [
        ("Clip", found.clip),
        ("Picture", f"{about['width']}x{about['height']} {about['pix_fmt']}"),
        ("Frames per second", about["rate"]),
        ("Frames read", about["frames_read"]),
        ("Frames scored", found.frames),
    ]
    more = paragraph(
        "PSNR, SSIM, flicker and pulse look at luma (of RGB, at green) at the clip's own depth. "
        "Pictures on this page are reduced to 8 bits, and to at most 1280 pixels across."
    )
    return paragraph(how) + facts(pairs) + folded("How the numbers are made", more)


def _nth(step: int) -> str:
    return {2: "second", 3: "third"}.get(step, f"{step}th")
