"""The manual page, ltxfilter(1), in the macros of man(7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from ltxfilter import __version__
from ltxfilter.cli.ffmpeg_options.accepted import ACCEPTED
from ltxfilter.cli.flag import Flag, Side
from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.shells.vocabulary import command_words

SUMMARY = "raise the frame rate of video in a stream"
EXIT_CODES = (
    ("0", "Done."),
    ("1", "It failed in the middle, or memory or threads were refused."),
    ("2", "The command line is wrong."),
    ("3", "The input cannot be read."),
    ("4", "The output cannot be written."),
    ("5", "The engine cannot run."),
    ("130, 143", "It was stopped by SIGINT or SIGTERM."),
    ("141", "The program that read the output has left."),
)
ENVIRONMENT = (
    ("LTXFILTER_CONFIG", "Another settings file."),
    (
        "LTXFILTER_CHECKPOINT, LTXFILTER_VAE, ...",
        "Model files, each by the name of its option in capitals.",
    ),
)
FILES = (
    (
        "~/.config/ltxfilter.toml",
        'Model files that a command line need not name, such as: models = "/data/models"',
    ),
)
EXAMPLES = (
    ("From a file to a file", "ltxfilter -i in.mkv --fps 60 -c:v libx265 -crf 18 out.mkv"),
    ("Between two ffmpegs", "ffmpeg -i x.mp4 -f rawvideo - | ltxfilter | ffmpeg -i - y.mp4"),
    ("A long job that carries on", "ltxfilter -i film.mkv --resume --workers auto out.mkv"),
    ("Will it work?", "ltxfilter doctor -- -i in.mkv --fps 60 out.mkv"),
)


def manual_page(description: str, commands: Mapping[str, click.Command]) -> str:
    """Return the page. description: paragraphs about the filter, without the examples."""
    return "\n".join(_page(description, commands)) + "\n"


def _page(description: str, commands: Mapping[str, click.Command]) -> Iterator[str]:
    yield f'.TH LTXFILTER 1 "" "ltxfilter {__version__}" "User Commands"'
    yield from (".SH NAME", rf"ltxfilter \- {SUMMARY}")
    yield ".SH SYNOPSIS"
    for shape in ("[options] [-i FILE] [options] [FILE]", "COMMAND [options]"):
        yield ".B ltxfilter"
        yield _text(shape)
        yield ".br"
    yield ".SH DESCRIPTION"
    for paragraph in description.strip().split("\n\n"):
        yield from (".PP", _text(" ".join(paragraph.split())))
    yield ".SH OPTIONS"
    for side in (side for side in Side if side is not Side.REFUSED):
        yield f'.SS "{_text(side.value)}"'
        for flag in (flag for flag in (*FLAGS, *ACCEPTED) if flag.side is side):
            yield from _entry(_spelled(flag), flag.help)
    yield ".SH COMMANDS"
    for name, command in commands.items():
        yield from _command(name, command)
    for heading, entries in (
        ("EXIT STATUS", EXIT_CODES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
    ):
        yield f'.SH "{heading}"'
        for name, text in entries:
            yield from _entry(name, text)
    yield ".SH EXAMPLES"
    for title, line in EXAMPLES:
        yield from (".PP", _text(f"{title}:"), ".PP", ".nf", ".RS", _text(line), ".RE", ".fi")
    yield from (".SH SEE ALSO", ".BR ffmpeg (1),", ".BR mpv (1)")


def _command(name: str, command: click.Command) -> Iterator[str]:
    """Yield what a command does, and the options that it has of its own."""
    text = " ".join((command.help or "").replace("\b", "").split())
    yield from _entry(f"ltxfilter {name}", text)
    own = command_words(command)
    if own:
        yield ".RS"
        for word in own:
            yield from _entry(f"{', '.join(word.spellings)} {word.metavar}".strip(), word.help)
        yield ".RE"


def _spelled(flag: Flag) -> str:
    names: Sequence[str] = (flag.dashed, *(f"-{alias}" for alias in flag.aliases))
    return f"{', '.join(names)} {flag.metavar}".strip()


def _entry(name: str, text: str) -> Iterator[str]:
    yield from (".TP", rf"\fB{_text(name)}\fR", _text(text))


def _text(text: str) -> str:
    r"""Return text without what roff takes as its own: \, a dash as a hyphen, a leading dot."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti")
    escaped = escaped.replace("'", r"\(aq").replace('"', r"\(dq").replace("^", r"\(ha")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped
