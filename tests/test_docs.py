"""Every command of ltxfilter in the documentation is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from support.tools import ROOT

from ltxfilter.cli.main import COMMANDS, filter_command

FENCE = re.compile(r"^```(.*)$")
SHELLS = {"", "sh", "bash", "console"}
ANSWER = "ltxfilter: "  # how a message begins that a page shows below its command
ENDS = {"|", "||", "&&", ";", "&", "(", ")"}
WAYS = {"<", ">", ">>", "2>", ">&", "<<"}  # redirections, each with a word that follows
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each block of code that is a shell's."""
    language, lines = None, []
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif language is None:
            language, lines = fence[1].strip(), []
        else:
            if language in SHELLS:
                yield "\n".join(lines).replace("\\\n", " ").splitlines()
            language = None


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each call of ltxfilter in the code of a page, save those refused there."""
    for block in blocks(text):
        for line, following in zip(block, [*block[1:], ""], strict=True):
            if "..." in line or "[" in line or not re.search(r"(?<![\w./-])ltxfilter ", line):
                continue
            if following.startswith(ANSWER) or line.startswith(ANSWER):
                continue
            try:
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = list(lexer)
            except ValueError:  # a quotation goes on in the next line
                continue
            yield from calls(words)


def calls(words: list[str]) -> Iterator[list[str]]:
    """Yield the arguments of each ltxfilter in a line of a shell."""
    while "ltxfilter" in words:
        words = words[words.index("ltxfilter") + 1 :]
        found: list[str] = []
        rest = iter(words)
        for word in rest:
            if word in ENDS:
                break
            if word in WAYS:
                next(rest, None)
                continue
            found.append(word)
        yield found


def name(call: list[str]) -> str:
    return " ".join(call)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_taken(page: Path):
    for call in commands(page.read_text()):
        command: click.Command = filter_command
        words = list(call)
        if words and words[0] in COMMANDS:
            module = import_module(f"ltxfilter.cli.commands.{words[0]}")
            command = getattr(module, f"{words.pop(0)}_command")
        try:
            command.make_context("ltxfilter", words).close()
        except click.exceptions.Exit:
            pass  # --help and --version
        except Exception as error:
            pytest.fail(f"{page.name}: ltxfilter {name(call)}: {error}")


def test_calls_are_found():
    line = (
        "ffmpeg -i a -f nut - | ltxfilter -f nut - | ffmpeg -i - b && ltxfilter doctor < in > log"
    )
    text = f"```python\nltxfilter wrong\n```\nltxfilter no code\n```\n{line}\n```\n"
    assert list(commands(text)) == [["-f", "nut", "-"], ["doctor"]]
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 50
