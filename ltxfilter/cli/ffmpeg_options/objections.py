"""Which words of a command line ltxfilter takes, and what to type instead of those it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ltxfilter.cli.ffmpeg_options.accepted import is_met
from ltxfilter.cli.ffmpeg_options.recipe import Refusal, recipe
from ltxfilter.cli.ffmpeg_options.refused import AUDIO, FILTERS, TIMING, Helper, RefusedFlag
from ltxfilter.cli.flag import Side
from ltxfilter.cli.words import Word
from ltxfilter.errors import OptionError

KINDS = {"a": ("an", "c:a"), "s": ("sn", "c:s"), "d": ("dn", "c:d"), "t": ("", "c:t")}
COPIED = {"c": "", "c:a": "an", "c:s": "sn", "c:d": "dn", "c:t": ""}  # -> what leaves it out
ANY_STREAM = ("metadata", "map_metadata", "disposition", "map")  # flags for any kind of stream
NOT_VIDEO = "only video is encoded, the other streams are copied"
SHIFTED = {
    "itsoffset": "times are not shifted",
    "stream_loop": "the input is read once",
    "seek_timestamp": "-ss counts from the start of the input",
}


def sift(words: Sequence[Word]) -> list[Word]:
    """Return the words that say something to ltxfilter.

    Raises OptionError for one that it does not take, with the line to type instead if there is one.
    """
    left = [word for word in words if not _is_void(word, words)]
    found = [refusal for word in left if (refusal := _refusal(word, left)) is not None]
    if not found:
        return [word for word in left if word.flag is None or word.flag.side is not Side.ACCEPTED]
    line = recipe(left, found)
    raise OptionError(found[0].reason + (f": {line}" if line else ""))


def _is_void(word: Word, words: Sequence[Word]) -> bool:
    """Return True for an option of streams that are copied or left out: ffmpeg passes over it."""
    kind = "a" if _is_of_audio(word) else word.stream[:1]
    if kind not in KINDS or word.is_flag(*ANY_STREAM):
        return False
    out, codec = KINDS[kind]
    copied = any(each.is_flag("c", codec) and each.value == "copy" for each in words)
    encoded = any(each.is_flag(codec) and each.value != "copy" for each in words)
    return any(each.is_flag(out) for each in words) or (copied and not encoded)


def _is_of_audio(word: Word) -> bool:
    return isinstance(word.flag, RefusedFlag) and word.flag.help == AUDIO


def _refusal(word: Word, words: Sequence[Word]) -> Refusal | None:
    """Return why ltxfilter does not take a word; None if it does."""
    flag, text = word.flag, word.written[0]
    if isinstance(flag, RefusedFlag):
        reason = f"{text} is not supported: {flag.help}"
        refusal = Refusal(word, reason, flag.helper)
        if flag.help == FILTERS and refusal.own:
            return Refusal(word, f"{text} {word.value}: that is what ltxfilter does", flag.helper)
        return refusal
    if word.is_file or word.is_flag("i"):
        return _refused_name(word, words)
    if flag is not None and flag.side is Side.ACCEPTED:
        return _refused_value(word, _rate(words))
    if word.stream[:1] in KINDS and not word.is_flag(*ANY_STREAM):
        return Refusal(word, f"{text}: {NOT_VIDEO}", Helper.AFTER)
    return next(_others(word, words), None)


def _refused_name(word: Word, words: Sequence[Word]) -> Refusal | None:
    """Refuse a second input."""
    inputs = [each for each in words if each.is_flag("i")]
    if word.is_flag("i") and word is not inputs[0]:
        return Refusal(word, "-i is given twice; ltxfilter reads one input", Helper.BEFORE)
    return None


def _refused_value(word: Word, fps: str) -> Refusal | None:
    """Refuse a value that asks for something else than what happens."""
    assert word.flag is not None
    if is_met(word.flag, word.value, fps):
        return None
    asked = f"{word.written[0]} {word.value}"
    if word.flag.name in SHIFTED:
        return Refusal(word, f"{asked}: {SHIFTED[word.flag.name]}", Helper.BEFORE)
    way = "; --fps source keeps the source's times and halves its intervals"
    if fps == "source":
        way = ", or --fps source, which keeps the source's times"
    return Refusal(word, f"{asked} is not supported: {TIMING}{way}", Helper.NONE)


def _others(word: Word, words: Sequence[Word]) -> Iterator[Refusal]:
    """Yield what is wrong with a flag of ours as it is used here."""
    asked = f"-{word.name} {word.value}"
    if word.is_flag(*COPIED) and word.value != "copy":
        out = COPIED[word.name]
        if not (out and any(each.is_flag(out) for each in words)):
            advice = f"{AUDIO}; encode them in an ffmpeg that follows"
            advice += ", or leave them out with -an, -sn, -dn"
            yield Refusal(word, f"{asked}: {advice}", Helper.AFTER)
    if word.is_flag("c:v"):
        several = any(each.is_flag("i") for each in words) and not word.after_input
        if several:
            advice = "the stream says how it is decoded; -hwaccel auto decodes on hardware"
            yield Refusal(word, f"{asked} before -i: {advice}", Helper.NONE)
        elif word.value == "copy":
            advice = "the output has frames that are interpolated, so it has to be encoded"
            yield Refusal(word, f"{asked}: {advice}", Helper.NONE)
    if word.is_flag("s") and word.after_input and any(each.is_flag("i") for each in words):
        yield Refusal(
            word,
            "-s after -i: ltxfilter does not scale to a size, only by --scale 2x or 1.5x",
            Helper.AFTER,
        )
    if word.is_flag("map_metadata", "map_chapters") and not _is_whole(word):
        yield Refusal(word, f"{' '.join(word.written)}: 0 or -1 is understood", Helper.AFTER)
    if word.is_flag("metadata") and word.stream[:1] not in ("", "g", "s"):
        advice = "tags of the file and of its streams can be set"
        yield Refusal(word, f"{word.written[0]}: {advice}", Helper.AFTER)


def _is_whole(word: Word) -> bool:
    """Return True for -map_metadata or -map_chapters that takes all of the input's, or nothing."""
    if word.stream:  # -map_metadata:s:v 0:s:v takes what is taken anyway
        return word.value == f"0:{word.stream}"
    return word.value in ("0", "-1", "0:g")


def _rate(words: Sequence[Word]) -> str:
    return next((word.value for word in reversed(words) if word.is_flag("fps")), "auto")
