"""The sections of a report's page, each from the numbers that the JSON report has too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from ltxfilter.pipeline.record.least_certain import UncertainFrame
from ltxfilter.values import MIB
from ltxfilter.view.components import (
    Cell,
    EmbeddedPicture,
    Markup,
    compared,
    facts,
    folded,
    listed,
    paragraph,
    table,
    text,
)
from ltxfilter.view.document import Section, embedded_data
from ltxfilter.view.plots import clock_text
from ltxfilter.view.timeline import RunTimeline
from ltxfilter.view.verdict import BAD, WARN, Look

ACTIONS = {"interpolate": "interpolated", "copy": "kept as it is", "drop": "left out"}
COUNTS = {
    "frames_in": "source frames decoded",
    "frames_out": "output frames",
    "passed": "source frames passed through",
    "interpolated": "interpolated frames",
    "repeated": "repeated frames",
    "duplicates": "duplicates in the source",
    "cuts": "scene cuts",
    "pauses": "pauses",
    "corrupt": "damaged packets and frames",
    "missing_interpolated": "missing and interpolated",
    "missing_repeated": "missing and repeated",
    "out_of_order": "dropped out of order",
    "fallbacks": "taken from a fallback",
}
ALWAYS = ("frames_in", "frames_out", "passed", "interpolated", "repeated")


@dataclass(frozen=True, slots=True)
class Found:
    """All that a report knows of a run."""

    head: Mapping[str, Any]  # what was known before it started
    statistics: Mapping[str, Any]  # as the JSON report has them
    ended: str  # complete, stopped or failed
    error: str | None  # what ended it early
    elapsed: float  # seconds
    bottleneck: str | None  # the stage that the others waited for
    timeline: RunTimeline
    doubts: tuple[UncertainFrame, ...]  # the least certain first


def short_name(found: Found) -> str:
    """Return the name of the output without its folder."""
    name = found.head.get("output", {}).get("name", "")
    return PurePath(name).name or name or "a run that did not start"


def verdict(looks: Sequence[Look]) -> str:
    """Return what needs a look, in order."""
    levels = {each.level for each in looks}
    kind = "bad" if BAD in levels else "warn" if WARN in levels else "good"
    word = {
        "bad": "Something is wrong",
        "warn": "Some of it needs a look",
        "good": "Nothing stands out",
    }[kind]
    body = listed(map(_look, looks), ordered=True) if looks else paragraph("Nothing to look at.")
    return (
        f'<div class="verdict {kind}" role="region" aria-labelledby="verdict-title">'
        f'<h2 id="verdict-title"><strong>{word}</strong></h2>{body}</div>\n'
    )


def _look(finding: Look) -> Markup:
    place = "" if finding.time is None else f" From {clock_text(finding.time)} on."
    link = f'<a href="#{finding.section}">Show</a>'
    return Markup(f"{text(finding.text + place)} {link}")


def embedded(found: Found, looks: Sequence[Look]) -> str:
    """Return the figures of the page, for programs: those of the JSON report."""
    figures = {"ended": found.ended, "statistics": found.statistics, "findings": len(looks)}
    return embedded_data("figures", figures)


def _length(found: Found) -> float:
    """Return the seconds up to the end of the last output frame; to its time if rates vary."""
    rate = found.head.get("output", {}).get("rate")
    if rate:
        return float(found.statistics["frames_out"] / Fraction(rate))
    return float(found.statistics["out_time"])


def what(found: Found) -> Section:
    """Return what went in and what came out."""
    source, target = found.head.get("input", {}), found.head.get("output", {})
    size = f"{source.get('width')} x {source.get('height')}, {source.get('pix_fmt')}"
    rate, target_size = target.get("rate"), _scaled_size(found)
    pairs: list[tuple[str, Cell]] = [
        ("Input", source.get("name")),
        ("Picture", size if source else None),
        *([("Scaled to", target_size)] if target_size else []),
        ("Rate of the input", f"{source.get('rate')} fps" if source.get("rate") else "variable"),
        ("Output", target.get("name")),
        ("Rate of the output", f"{rate} fps" if rate else "every interval halved"),
        ("Length of the output", clock_text(_length(found))),
        ("Engine", found.head.get("engine", {}).get("name")),
        ("Ended", found.ended if found.error is None else f"{found.ended}: {found.error}"),
    ]
    counted = [
        (title, found.statistics[name])
        for name, title in COUNTS.items()
        if found.statistics[name] or name in ALWAYS
    ]
    body = facts(pairs) + table(["What", "How many"], counted, "Frames", numeric=[1])
    return Section("what", "In and out", body + _streams(found.head.get("streams", ())))


def _scaled_size(found: Found) -> str | None:
    """Return the size that frames are scaled to; None where they keep theirs."""
    if not found.head.get("options", {}).get("output", {}).get("scale"):
        return None
    target = found.head.get("output", {})
    return f"{target.get('width')} x {target.get('height')}"


def _streams(streams: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [
            each["index"],
            each["kind"],
            each["codec"],
            ACTIONS.get(each["action"], each["action"]),
            each["reason"] or None,
        ]
        for each in streams
    ]
    if not rows:
        return paragraph("The input carries nothing but video.")
    return table(["Stream", "Kind", "Codec", "In the output", "Why"], rows, "Streams of the input")


def proof(found: Found) -> Section:
    """Return the proof that source frames were passed through."""
    numbers = found.statistics
    same, altered, passed = numbers["verified"], numbers["altered"], numbers["passed"]
    if altered:
        lead = f"{altered} of {passed} passed source frames have other samples than were decoded."
    elif passed:
        lead = (
            f"{same} of {passed} passed source frames were compared, sample by sample, with what "
            "was decoded, and are identical."
        )
    else:
        lead = "No source frame falls on an output time."
    digests = numbers.get("originals")
    body = paragraph(lead)
    if digests:
        body += facts(
            [
                ("Source frames decoded", digests["decoded"]),
                ("SHA-256 of their samples", Markup(f"<code>{digests['decoded_sha256']}</code>")),
                ("Handed on with the same samples", digests["identical"]),
            ]
        )
    else:
        body += paragraph("Workers compared them; of segments there is no common digest.", "soft")
    note = (
        "The comparison is made where frames are handed to the encoder. A lossless output (FFV1, "
        "or -qp 0) keeps them; what other encoders make of them is up to their settings."
    )
    if target := _scaled_size(found):
        note = f"The comparison is made before all frames are scaled to {target}, as --scale asks."
    return Section("proof", "Originals", body + paragraph(note, "soft"))


def least_certain(found: Found) -> Section | None:
    """Return the frames that the engine trusts least, beside their neighbours."""
    if not found.doubts:
        if not found.statistics["interpolated"]:
            return None
        why = "No frame is shown here: the engine states no estimate of its pictures."
        return Section("doubts", "Least certain frames", paragraph(why))
    lead = (
        "These interpolated frames are expected to be the worst, at most one a second. Compare "
        "each with the source frames before and after it. Motion: the hue is the direction, the "
        "strength of the colour the speed."
    )
    cards = "".join(map(_card, found.doubts))
    return Section(
        "doubts", "Least certain frames", paragraph(lead) + f'<div class="cards">{cards}</div>'
    )


def _card(doubt: UncertainFrame) -> str:
    before, after = doubt.neighbours
    times = (before, doubt.time, after)
    names = ("Before", "Interpolated", "After")
    pictures = [
        EmbeddedPicture.of(
            data, "jpeg", f"{name}: the frame at {clock_text(time)}", name, doubt.size
        )
        for data, name, time in zip(doubt.pictures, names, times, strict=True)
    ]
    if doubt.motion is not None:
        told = f"Motion in colours; the fastest part moves {doubt.fastest:g} pixels"
        pictures.append(EmbeddedPicture.of(doubt.motion, "png", told, "Motion", doubt.size))
    estimate = "no estimate" if doubt.psnr_db is None else f"{doubt.psnr_db:g} dB expected"
    told = f"{clock_text(doubt.time)}, output frame {doubt.index}: {estimate}, by {doubt.engine}"
    if doubt.fastest is not None:
        told += f"; motion up to {doubt.fastest:g} pixels"
    if doubt.rejected:
        told += f"; {doubt.rejected}"
    return compared(pictures, told, first=0, second=1, strip=True)


def engines(found: Found) -> Section:
    """Return which engines made the interpolated frames."""
    total = found.statistics["interpolated"]
    rows: list[list[Cell]] = [
        [name, count, f"{100 * count / total:.1f} %"]
        for name, count in found.timeline.engines.most_common()
    ]
    if not rows:
        return Section("engines", "Engines", paragraph("No engine made a frame."))
    made = table(["Engine", "Frames", "Share"], rows, "Interpolated frames", numeric=[1, 2])
    made += _partner(found.statistics["outcome"]) + _fallbacks(found.statistics["outcome"])
    low = found.timeline.low
    if not low:
        return Section("engines", "Engines", made)
    bins = sorted({db // 5 * 5 for db in low})
    spread: list[list[Cell]] = [
        [f"{base} to {base + 5} dB", sum(count for db, count in low.items() if db // 5 * 5 == base)]
        for base in bins
    ]
    caption = "Frames by the PSNR that their engine expects of them"
    return Section(
        "engines", "Engines", made + table(["Estimate", "Frames"], spread, caption, numeric=[1])
    )


def _partner(outcome: Mapping[str, Any]) -> str:
    """Return whether the engine for what is hard was asked, and how much of it was taken."""
    name, asked, taken = outcome["partner"], outcome["asked"], outcome["taken"]
    if name is None:
        return ""
    if not asked:
        return paragraph(f"{name} was not asked, as no interval was hard enough.")
    rows: list[list[Cell]] = [
        ["asked for", asked, None],
        ["taken from, in part or wholly", taken, None],
    ]
    rows += [["not taken from", count, why] for why, count in outcome["refused"].items()]
    if taken:
        rows.append(["area of it, in whole frames", round(outcome["area"], 1), None])
    return table(["Frames that it was", "How many", "Why"], rows, name, numeric=[1])


def _fallbacks(outcome: Mapping[str, Any]) -> str:
    rows = [[*why.split(": ", 1), count] for why, count in outcome["fallbacks"].items()]
    if not rows:
        return ""
    caption = "Pictures that failed the check, and who made them instead"
    return table(["Fallback", "Why", "Frames"], rows, caption, numeric=[2])


def time_and_memory(found: Found) -> Section:
    """Return how long the stages worked, and the memory against what was set aside."""
    busy = found.statistics.get("busy", {})
    rows = [
        [name, round(seconds, 1), f"{100 * seconds / max(found.elapsed, 1e-6):.0f} %"]
        for name, seconds in busy.items()
    ]
    took = f"The run took {found.elapsed:.1f} s."
    if found.bottleneck:
        took += f" The others waited for {found.bottleneck}."
    body = paragraph(took)
    if rows:
        caption = "Seconds worked by each stage, those of all its threads and of all workers"
        body += table(["Stage", "Seconds", "Of the run"], rows, caption, numeric=[1, 2])
    makers = found.statistics.get("workers") or {}
    if makers:
        caption = "Segments that each worker made"
        body += table(["Worker", "Segments"], list(makers.items()), caption, numeric=[1])
    return Section("time", "Time and memory", body + _memory(found))


def _memory(found: Found) -> str:
    parts = found.head.get("memory", {})
    total, peak = sum(parts.values()), found.statistics["memory_peak"]
    if peak is None:
        said = f"{_mb(total)} MB were set aside; how much was in use is not known."
    else:
        share = f", {100 * peak / total:.0f} %" if total else ""
        said = f"At most {_mb(peak)} MB were in use of {_mb(total)} MB that were set aside{share}."
    rows = [[name, _mb(size)] for name, size in parts.items()]
    return paragraph(said) + table(["Part", "MB"], rows, "Memory set aside", numeric=[1])


def messages(found: Found) -> Section | None:
    """Return what the run warned of."""
    texts = found.statistics["warnings"]
    if not texts:
        return None
    return Section("messages", "Warnings", listed(texts))


def settings(found: Found) -> Section:
    """Return the options as the run understood them, and the versions of what made it."""
    head = found.head
    options = [[name, _plain(value)] for name, value in _flat(head.get("options", {}))]
    versions = list(head.get("versions", {}).items())
    body = folded(
        "Options", table(["Option", "Value"], options, "As the run understood them")
    ) + folded("Versions", table(["Package", "Version"], versions, "Installed"))
    return Section("settings", "Settings", body)


def _flat(options: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        elif value not in (None, [], {}, ""):
            yield f"{before}{name}", value


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _mb(size: int) -> int:
    return max(round(size / MIB), 1) if size else 0
