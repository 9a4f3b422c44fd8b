"""argv as ffmpeg's users write it -> words: options with their values, and file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ltxfilter.cli.ffmpeg_options.accepted import ACCEPTED
from ltxfilter.cli.ffmpeg_options.passed_on import is_demuxers, is_muxers
from ltxfilter.cli.ffmpeg_options.refused import REFUSED_FLAGS
from ltxfilter.cli.flag import Flag, Side
from ltxfilter.cli.flags import FLAGS
from ltxfilter.errors import OptionError

INDEX = re.compile(r"(?a)(.+):\d+")  # a stream specifier that counts streams of its kind


@dataclass(frozen=True, slots=True)
class Word:
    """One option or file name of a command line."""

    flag: Flag | None  # None: a file name, or an option that libav takes itself
    name: str  # as written, without dashes and stream specifier; "" for a file name
    value: str = ""
    stream: str = ""  # the stream specifier behind the name, as s:a:0
    written: tuple[str, ...] = ()  # what stands in argv
    after_input: bool = False  # True behind the last -i

    @property
    def is_file(self) -> bool:
        """True for a file name."""
        return self.flag is None and not self.name

    def is_flag(self, *names: str) -> bool:
        """Return True for one of the flags that `names` name."""
        return self.flag is not None and self.flag.name in names


def split(argv: Sequence[str]) -> list[Word]:
    """Split a command line without its program name. Raises OptionError for an unknown option."""
    words: list[Word] = []
    at = 0
    while at < len(argv):
        word = _word(argv, at)
        words.append(word)
        at += len(word.written)
    last = max((at for at, word in enumerate(words) if word.is_flag("i")), default=len(words))
    return [_placed(word, at > last) for at, word in enumerate(words)]


def _placed(word: Word, after_input: bool) -> Word:
    return Word(word.flag, word.name, word.value, word.stream, word.written, after_input)


def _word(argv: Sequence[str], at: int) -> Word:
    """Return the word that begins at place `at`."""
    text = argv[at]
    if not text.startswith("-") or text == "-":
        return Word(None, "", text, written=(text,))
    double = text.startswith("--")
    name, equals, value = text[2:].partition("=") if double else (text[1:], "", "")
    flag, stream = _flag(name)
    base = name.partition(":")[0]
    if flag is None:
        _check_unknown(text, name, double)
    word = base if flag is None else flag.name
    if flag is not None and not flag.metavar:
        if equals:
            raise OptionError(f"{text}: {flag.dashed} takes no value")
        return Word(flag, word, "", stream, (text,))
    if equals:
        return Word(flag, word, value, stream, (text,))
    following = argv[at + 1] if at + 1 < len(argv) else None
    if flag is not None and flag.metavar.startswith("["):  # a switch that may be said to be off
        number = following if following in ("0", "1") else None
        return Word(flag, word, number or "1", stream, (text, number) if number else (text,))
    if following is None or (_is_name(flag) and _is_option(following)):
        raise OptionError(f"{text} needs a value")
    return Word(flag, word, following, stream, (text, following))


def _is_name(flag: Flag | None) -> bool:
    """Return True where a value that looks like an option is one: of files, of unknown options."""
    return flag is None or flag.metavar in ("FILE", "FOLDER", "TO")


def _is_option(text: str) -> bool:
    return text.startswith("-") and text != "-" and _flag(text.lstrip("-"))[0] is not None


def _flag(name: str) -> tuple[Flag | None, str]:
    """Return the flag that a name without dashes means, and its stream specifier."""
    base, _, stream = name.partition(":")
    if flag := _known(name):  # -c:v, too, is a name
        return flag, ""
    shorter = INDEX.fullmatch(name)
    if shorter and ":" in shorter[1] and (flag := _known(shorter[1])):  # -c:v:0
        return flag, ""
    return _known(base), stream


def _known(name: str) -> Flag | None:
    return BY_NAME.get(name) or BY_NAME.get(name.replace("-", "_"))


def _check_unknown(text: str, name: str, double: bool) -> None:
    """Let through what may be an option of libav: one dash, a plausible name."""
    base = name.partition(":")[0]
    if not double and (is_demuxers(base) or is_muxers(base)):
        return
    misspelt = get_close_matches(base, OURS, n=1, cutoff=0.85)
    if double or misspelt or not re.fullmatch(r"(?a)[\w-]*[A-Za-z][\w-]*", base):
        hint = f"; a file of that name is written ./{text}" if "." in text else suggestion(base)
        raise OptionError(f"no option {text}{hint}")


def suggestion(name: str) -> str:
    """Return "; did you mean --NAME?" for a name close to a known one, else nothing."""
    close = get_close_matches(name.replace("-", "_"), OFFERED, n=1, cutoff=0.6)
    return f"; did you mean {BY_NAME[close[0]].dashed}?" if close else ""


BY_NAME = {
    name: flag
    for flag in (*FLAGS, *ACCEPTED, *REFUSED_FLAGS)
    for name in (flag.name, *flag.aliases)
}
OFFERED = [name for name, flag in BY_NAME.items() if flag.side is not Side.REFUSED]
OURS = [name for name in OFFERED if BY_NAME[name].side is not Side.OUTPUT]
