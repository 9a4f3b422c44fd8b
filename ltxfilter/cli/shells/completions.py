"""Completions for bash, zsh and fish, as scripts that the shell reads once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping

import click

from ltxfilter.cli.shells.vocabulary import (
    FILE,
    FOLDER,
    SWITCH,
    Spelled,
    choices,
    command_words,
    words,
)

BASH = r"""# ltxfilter in bash: eval "$(ltxfilter completion bash)", or a file in
# ~/.local/share/bash-completion/completions/ltxfilter
_ltxfilter() {{
    local line=${{COMP_LINE:0:COMP_POINT}} current before flags offer="" typed
    typed=${{line##*[[:space:]]}}
    line=${{line%"$typed"}}
    line=${{line%"${{line##*[![:space:]]}}"}}
    before=${{line##*[[:space:]]}}
    current=$typed
    flags="{flags}"
    COMPREPLY=()
    case " $line " in
{commands}
    esac
    case "$before" in
{values}
    esac
    if [[ -z $offer ]]; then
        if [[ $current == -* ]]; then
            offer=$flags
        elif [[ $line != *[[:space:]]* ]]; then
            offer="{names}"
        else
            return
        fi
    fi
    local IFS=$' \t\n'
    COMPREPLY=($(compgen -W "$offer" -- "$current"))
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local done=${{current%"${{current##*:}}"}} i
        for i in "${{!COMPREPLY[@]}}"; do
            COMPREPLY[i]=${{COMPREPLY[i]#"$done"}}
        done
    fi
}}
complete -o default -o bashdefault -F _ltxfilter ltxfilter
"""
ZSH = r"""#compdef ltxfilter
# ltxfilter in zsh: a file _ltxfilter in a folder of $fpath, or eval "$(ltxfilter completion zsh)"
_ltxfilter() {{
    local -a commands flags
    commands=(
{commands}
    )
    flags=(
{flags}
    )
    case $words[2] in
{own}
    esac
    _arguments -S : $flags \
        '1: :{{_describe -t commands command commands; _files}}' '*:file:_files'
}}
if [[ $funcstack[1] == _ltxfilter ]]; then
    _ltxfilter "$@"
else
    compdef _ltxfilter ltxfilter
fi
"""


def bash(commands: Mapping[str, click.Command]) -> str:
    """Return the script for bash."""
    own = []
    for name, command in commands.items():
        known = " ".join(spelling for word in _own(command) for spelling in word.spellings)
        taken = " ".join(choices(command))
        if known or taken:
            own.append(f'        *"ltxfilter {name} "*) flags="{known}" offer="{taken}" ;;')
    return BASH.format(
        flags=" ".join(spelling for word in words() for spelling in word.spellings),
        commands="\n".join(own),
        values="\n".join(_bash_values()),
        names=" ".join(commands),
    )


def _bash_values() -> Iterator[str]:
    """Yield the cases of a flag's value; both dashes, and - and _, are the same to the parser."""
    for word in words():
        if word.takes is SWITCH:
            continue
        patterns = "|".join(_patterns(word))
        if word.values:
            yield f'        {patterns}) offer="{" ".join(word.values)}" ;;'
        elif word.takes is FILE:
            yield f"        {patterns}) compopt -o default; return ;;"
        elif word.takes is FOLDER:
            yield f"        {patterns}) compopt -o dirnames; return ;;"
        else:
            yield f"        {patterns}) compopt +o default +o bashdefault; return ;;"


def _patterns(word: Spelled) -> list[str]:
    names = dict.fromkeys(spelling.lstrip("-") for spelling in word.spellings)
    return [f"-{name}|--{name}" for name in names]


def zsh(commands: Mapping[str, click.Command]) -> str:
    """Return the script for zsh."""
    own = []
    for name, command in commands.items():
        known = [_zsh_flag(word) for word in _own(command)]
        if taken := choices(command):
            known.append(f"'2: :({' '.join(taken)})'")
        if known:
            own.append(f"        {name}) flags=({' '.join(known)}) ;;")
    return ZSH.format(
        commands="\n".join(
            f"        {shlex.quote(f'{name}:{_first_line(command)}')}"
            for name, command in commands.items()
        ),
        flags="\n".join(f"        {_zsh_flag(word)}" for word in words()),
        own="\n".join(own),
    )


def _zsh_flag(word: Spelled) -> str:
    """Return one flag as a word of _arguments."""
    spelling = word.spellings[0].replace(":", r"\:")
    text = word.help
    for special in r"\[]:":
        text = text.replace(special, "\\" + special)
    value = ""
    if word.takes is not SWITCH:
        action = {FILE: "_files", FOLDER: "_files -/"}.get(word.takes, "")
        if word.values:
            offered = " ".join(word.values).replace(":", r"\:")
            action = f"({offered})"
        label = word.metavar.replace(":", " ").replace("[", "").replace("]", "")
        value = f":{label}:{action or ' '}"
    return shlex.quote(f"*{spelling}[{text}]{value}")


def fish(commands: Mapping[str, click.Command]) -> str:
    """Return the script for fish."""
    lines = [
        "# ltxfilter in fish: ltxfilter completion fish | source, or a file",
        "# ~/.config/fish/completions/ltxfilter.fish",
    ]
    own = [name for name, command in commands.items() if _own(command)]
    lines += [
        f"complete -c ltxfilter -n __fish_use_subcommand -a {name} -d {_fish(_first_line(command))}"
        for name, command in commands.items()
    ]
    lines += [
        f"complete -c ltxfilter -n '__fish_seen_subcommand_from {name}' -x -a '{' '.join(taken)}'"
        for name, command in commands.items()
        if (taken := choices(command))
    ]
    away = f"not __fish_seen_subcommand_from {' '.join(own)}"
    lines += [_fish_flag(word, away) for word in words()]
    lines += [
        _fish_flag(word, f"__fish_seen_subcommand_from {name}")
        for name in own
        for word in _own(commands[name])
    ]
    return "\n".join(lines) + "\n"


def _fish_flag(word: Spelled, condition: str) -> str:
    """Return the line of one flag."""
    parts = ["complete -c ltxfilter", f"-n {_fish(condition)}"]
    for spelling in word.spellings:
        name = spelling.lstrip("-")
        kind = "-l" if spelling.startswith("--") else "-s" if len(name) == 1 else "-o"
        parts.append(f"{kind} {_fish(name)}")
    if word.values:
        parts.append(f"-x -a {_fish(' '.join(word.values))}")
    elif word.takes is FOLDER:
        parts.append("-x -a '(__fish_complete_directories)'")
    elif word.takes is not SWITCH:
        parts.append("-r -F" if word.takes is FILE else "-x")
    return " ".join([*parts, f"-d {_fish(word.help)}"])


def _fish(text: str) -> str:
    """Return a text in quotes of fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _own(command: click.Command) -> list[Spelled]:
    """Return the flags that a command has of its own; none where it takes those of the filter."""
    return command_words(command)


def _first_line(command: click.Command) -> str:
    return command.get_short_help_str(80).rstrip(".")


SHELLS: Mapping[str, Callable[[Mapping[str, click.Command]], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
