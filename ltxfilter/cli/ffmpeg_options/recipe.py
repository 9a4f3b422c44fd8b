"""The command line to type instead of one that is refused: ltxfilter between two ffmpegs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from ltxfilter.cli.ffmpeg_options.refused import Helper
from ltxfilter.cli.flag import Side
from ltxfilter.cli.words import Word

RATE_FILTER = re.compile(  # a filter that changes the rate, alone, with the rate that it asks for
    r"(?:minterpolate|framerate|fps)='?(?:[^,']*?\bfps=)?(?P<rate>\d[\d./]*|ntsc|pal|film)[^,]*"
)
SCALE_FILTER = re.compile(  # both sides, or one and -1 or -2, made 2 or 1.5 times as long; alone
    r"scale='?(?:w(?:idth)?=)?(?P<w>iw\*(2|1\.5)|(2|1\.5)\*iw|-[12])'?"
    r":'?(?:h(?:eight)?=)?(?P<h>ih\*(2|1\.5)|(2|1\.5)\*ih|-[12])'?(?::flags=[\w+]+)?"
)
OWN_TIMING = ("r", "threads")  # flags for either side that mean interpolation after -i


@dataclass(frozen=True, slots=True)
class Refusal:
    """A word that ltxfilter does not take."""

    word: Word

    reason: str
    """Why, in words that follow the option."""

    helper: Helper
    """Which ffmpeg takes it instead."""

    @property
    def own(self) -> list[str]:
        """Options of ltxfilter's that do what the word asks for; none if it asks for more."""
        if self.word.name not in FILTER_NAMES:
            return []
        if found := RATE_FILTER.fullmatch(self.word.value):
            return ["--fps", found["rate"]]
        found = SCALE_FILTER.fullmatch(self.word.value)
        sides = {side.strip("iwh*") for side in found.group("w", "h")} if found else set()
        factors = sides - {"-1", "-2"}
        return ["--scale", f"{factors.pop()}x"] if len(factors) == 1 else []


FILTER_NAMES = ("vf", "filter")


@dataclass(slots=True)
class Parts:
    """The arguments of the programs in a row."""

    before: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    overwriting: list[str] = field(default_factory=list)  # -y or -n
    name: list[str] = field(default_factory=list)  # of the output; ffmpeg ignores what follows it

    def joined(self, *, feeds: bool, follows: bool) -> str:
        """Return them as a line for a shell."""
        lines = []
        if feeds:
            lines.append(["ffmpeg", *self.before, "-c", "copy", "-f", "matroska", "-"])
        if follows:
            lines.append(["ltxfilter", *self.own, "-f", "nut", "-"])
            lines.append(["ffmpeg", *self.overwriting, "-i", "-", *self.after, *self.name])
        else:
            lines.append(["ltxfilter", *self.overwriting, *self.own, *self.after, *self.name])
        return " | ".join(map(shlex.join, lines))


def recipe(words: Sequence[Word], refusals: Sequence[Refusal]) -> str | None:
    """Write the command line that does what all words ask for; None where no ffmpeg helps."""
    by_place = {id(refusal.word): refusal for refusal in refusals}
    helpers = {refusal.helper for refusal in refusals if not refusal.own}
    if Helper.NONE in helpers:
        return None
    feeds, follows = Helper.BEFORE in helpers, Helper.AFTER in helpers
    several = sum(word.is_flag("i") for word in words) > 1
    parts = Parts()
    for word in words:
        refusal = by_place.get(id(word))
        if word.is_file or word.is_flag("o"):
            parts.name = [word.value]
        elif word.is_flag("i") and feeds:
            parts.before += word.written
            if word.value == next(each for each in words if each.is_flag("i")).value:
                parts.own += ["-i", "-"]
        elif refusal is not None and refusal.own:
            parts.own += refusal.own
        elif refusal is not None:
            (parts.before if refusal.helper is Helper.BEFORE else parts.after).extend(word.written)
        elif feeds and (_is_for_demuxer(word) or (several and word.is_flag("map"))):
            parts.before += word.written
        elif word.is_flag("y", "n"):
            parts.overwriting += word.written
        else:
            (parts.after if _is_for_output(word) else parts.own).extend(word.written)
    return parts.joined(feeds=feeds, follows=follows)


def _is_for_demuxer(word: Word) -> bool:
    """Return True for what tells how the input is stored."""
    if word.after_input:
        return False
    return word.flag is None or word.is_flag("f", "s", "r", "pix_fmt")


def _is_for_output(word: Word) -> bool:
    """Return True for what tells how the output is encoded and written."""
    if word.flag is None:
        return word.after_input or word.is_file
    if word.flag.side is Side.OUTPUT:
        return True
    return (
        word.flag.side in (Side.EITHER, Side.ACCEPTED)
        and word.after_input
        and word.flag.name not in OWN_TIMING
    )
