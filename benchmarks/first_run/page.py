"""The page that the first run on a GPU leaves: outcomes, timings against estimates and goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST = 3  # things to look at first
SLOWER = 1.5  # times the estimate, from which on a timing is worth a look


@dataclass(frozen=True, slots=True)
class Timing:
    """A number that a check measures, what arithmetic expects of it, and what is wanted."""

    key: str  # of the check's findings
    unit: str
    estimate: tuple[float, float]  # on an H200, by arithmetic
    goal: float | None = None
    larger_is_better: bool = False

    def factor(self, value: float, bound: float) -> float:
        """Return how many times worse than a bound a value is; at most 1 is as good."""
        return bound / max(value, 1e-9) if self.larger_is_better else value / bound

    def missed(self, value: float) -> float:
        """Return how many times worse than the goal a value is; 0 without a goal."""
        return self.factor(value, self.goal) if self.goal else 0.0

    def slow(self, value: float) -> float:
        """Return how many times worse than the worse end of the estimate a value is."""
        return self.factor(value, self.estimate[0 if self.larger_is_better else 1])


TIMINGS = (
    Timing("flow 1080p balanced", "frames/s", (1000, 1800), 500, larger_is_better=True),
    Timing("ltx-motion latent 1080p", "ms/frame", (3, 6), 5),
    Timing("ltx-motion dit 4 1080p, bf16", "ms/frame", (22, 25), 15),
    Timing("ltx-motion dit 4 1080p, fp8", "ms/frame", (16, 22), 15),
    Timing("RDVFI's setting, dit 4, x24, bf16", "ms/frame", (3, 8), 20),
    Timing("step of 5610 tokens, bf16", "ms", (340, 370)),
    Timing("step of 5610 tokens, fp8", "ms", (255, 285)),
)


def first(outcomes: list[dict[str, Any]]) -> list[str]:
    """Return the three things to look at first: failures, missed goals, warnings, slow parts."""
    return [text for _, text in sorted(worries(outcomes), key=lambda worry: -worry[0])][:MOST]


def worries(outcomes: list[dict[str, Any]]) -> Iterator[tuple[float, str]]:
    """Yield what is not as it should be, with how much it matters."""
    for number, found in enumerate(outcomes):
        name = found["name"]
        if found["state"] == "failed":
            last = found["reason"].strip().splitlines()[-1] if found["reason"].strip() else ""
            yield 1000 - number, f"{name} failed: {last}"
        if found["state"] == "not run":
            yield 10 - number / 100, f"{name} was not run: {found['reason']}"
        for warning in found.get("warnings", []):
            yield 500 - number, f"{name} warned: {warning}"
    for timing, value in measured(outcomes):
        if timing.missed(value) > 1:
            text = f"{timing.key}: {value:.4g} {timing.unit}, the goal is {timing.goal:g}"
            yield 100 + timing.missed(value), text
        elif timing.slow(value) > SLOWER:
            low, high = timing.estimate
            text = f"{timing.key}: {value:.4g} {timing.unit}, expected were {low:g} to {high:g}"
            yield 50 + timing.slow(value), text
    for name, ratio in choices(outcomes):
        if ratio > 1.02:
            yield 20 + ratio, f"{name} is {ratio:.2f} times as fast: make it the default?"


def measured(outcomes: list[dict[str, Any]]) -> Iterator[tuple[Timing, float]]:
    """Yield the timings that were measured."""
    values = {}
    for found in outcomes:
        values |= found.get("found", {}).get("timings", {})
    for timing in TIMINGS:
        if timing.key in values:
            yield timing, float(values[timing.key])


def choices(outcomes: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield what is off by default, and how many times as fast it would be."""
    for found in outcomes:
        yield from found.get("found", {}).get("choices", {}).items()


def line(found: dict[str, Any]) -> str:
    """Return an outcome as it is printed."""
    seconds = f" in {found['seconds']} s" if "seconds" in found else ""
    timings = found.get("found", {}).get("timings", {})
    more = ", ".join(f"{key} {value:.4g}" for key, value in timings.items())
    reason = found.get("reason", "").strip().splitlines()
    return ": ".join(
        part
        for part in (f"{found['state']:8} {found['name']}{seconds}", more, *reason[-1:])
        if part
    )


def written(whole: dict[str, Any]) -> str:
    """Return the page, in Markdown."""
    return "\n".join(lines(whole)) + "\n"


def lines(whole: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the page."""
    outcomes = whole["checks"]
    yield "# First run on a GPU"
    if whole["rehearsal"]:
        yield "\n**A rehearsal on a CPU with tiny models: the times mean nothing.**"
    machine = whole["machine"]
    yield f"\n{machine['date']}, commit {machine['commit'] or 'unknown'}, {whole['seconds']} s\n"
    yield "## To look at first"
    yield from ([f"{n}. {text}" for n, text in enumerate(whole["first"], 1)] or ["Nothing."])
    yield "\n## Timings\n"
    yield "| what | measured | estimate | goal | |\n|---|---|---|---|---|"
    for timing, value in measured(outcomes):
        goal = "" if timing.goal is None else f"{timing.goal:g}"
        verdict = "" if not timing.goal else "missed" if timing.missed(value) > 1 else "reached"
        low, high = timing.estimate
        expected = f"{low:g} to {high:g}"
        yield f"| {timing.key} | {value:.4g} {timing.unit} | {expected} | {goal} | {verdict} |"
    yield "\n## Off by default\n\n| what | times as fast |\n|---|---|"
    yield from (f"| {name} | {ratio:.3f} |" for name, ratio in choices(outcomes))
    yield "\n## Checks\n\n| check | outcome | s |\n|---|---|---|"
    for found in outcomes:
        seconds = found.get("seconds", "")
        yield f"| {found['name']}: {found['about']} | {found['state']} | {seconds} |"
    for found in outcomes:
        yield f"\n### {found['name']}"
        if found.get("reason"):
            yield f"```text\n{found['reason']}\n```"
        yield from (f"- warning: {text}" for text in found.get("warnings", []))
        for key, value in found.get("found", {}).items():
            if key not in ("timings", "choices"):
                yield f"- {key}: {value}"
