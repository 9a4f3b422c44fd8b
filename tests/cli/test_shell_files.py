"""Completions and the manual page: what the shells and groff make of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.tools import ltxfilter

from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.main import COMMANDS, run
from ltxfilter.cli.shells.vocabulary import NAMES


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(words) == 0
    return capsys.readouterr().out


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}")
    return found


COMPLETE = """
source "$1"
compopt() { :; }
COMP_LINE=$2 COMP_POINT=${#2}
_ltxfilter
printf '%s\\n' "${COMPREPLY[@]}"
"""
LINES = {
    "ltxfilter --eng": {"--engine"},
    "ltxfilter -i a.mkv --engine=x --repeats ": {"report", "smooth"},
    "ltxfilter -repeats s": {"smooth"},
    "ltxfilter -c:v libx": {"libx264", "libx265"},
    "ltxfilter -c:": {"v", "a", "s", "d", "t"},  # bash takes a colon for the begin of a word
    "ltxfilter -v w": {"warning"},
    "/usr/bin/ltxfilter do": {"doctor"},
    "ltxfilter completion ": {"bash", "zsh", "fish"},
    "ltxfilter completion z": {"zsh"},
    "ltxfilter context --prompt-": {"--prompt-file"},
    "ltxfilter jobs --": {"--clean"},
    "ltxfilter -crf ": {""},
    "ltxfilter in.mkv ": {""},
}


@pytest.mark.parametrize("line", LINES)
def test_bash_completes(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    script = tmp_path / "ltxfilter.bash"
    script.write_text(printed(capsys, "completion", "bash"))
    command = [need("bash"), "-c", COMPLETE, "-", str(script), line]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(done.stdout.removesuffix("\n").split("\n")) == LINES[line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_reads_its_script(shell: str, capsys: pytest.CaptureFixture[str]):
    script = printed(capsys, "completion", shell)
    for flag in FLAGS:
        name = flag.dashed.lstrip("-")
        assert name in script or name.replace(":", r"\:") in script
    assert all(name in script for name in COMMANDS)
    done = subprocess.run(
        [need(shell), "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_understands_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """comparguments, which reads them, works in completion alone: a terminal of zsh's own."""
    zsh = need("zsh")
    (tmp_path / "_ltxfilter").write_text(printed(capsys, "completion", "zsh"))
    script = f"""
zmodload zsh/zpty
zpty z {zsh} -f -i
zpty -w z "PS1=; fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; stty -echo"
zpty -w z "LISTMAX=1000; zstyle ':completion:*' list-prompt ''"
zpty -w z "print READY"
zpty -r z out '*READY*READY*'
zpty -w -n z "ltxfilter --repeats sm"$'\\t'
sleep 1
zpty -w -n z $'\\001print -r -- \"GOT \\005\"\\n'
zpty -r z out '*GOT*\\n'
print -r -- $out
"""
    done = subprocess.run(
        [zsh, "-f"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert "GOT ltxfilter --repeats smooth" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ltxfilter --repeats ", {"report", "smooth"}),
        ("ltxfilter --eng", {"--engine"}),
        ("ltxfilter -c:v libx26", {"libx264", "libx265"}),
        ("ltxfilter completion z", {"zsh"}),
        ("ltxfilter context --prompt-", {"--prompt-file"}),
    ],
)
def test_fish_completes(
    line: str, found: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    script = tmp_path / "ltxfilter.fish"
    script.write_text(printed(capsys, "completion", "fish"))
    command = [need("fish"), "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {each.split("\t")[0] for each in done.stdout.splitlines()} == found


def test_the_manual_page_has_every_flag_and_no_mistake(capsys: pytest.CaptureFixture[str]):
    page = printed(capsys, "man")
    done = subprocess.run(
        [need("groff"), "-man", "-Tascii", "-ww", "-rLL=300n", "-P-cbou"],
        input=page,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = [line.strip() for line in done.stdout.splitlines()]
    starts = {line.split()[0].rstrip(",") for line in lines if line.startswith("-")}
    assert {flag.dashed for flag in FLAGS} <= starts
    assert any(line.startswith("ltxfilter completion") for line in lines)
    assert "141" in done.stdout


def test_values_are_offered_for_flags_that_exist():
    assert set(NAMES) <= {flag.name for flag in FLAGS}


def test_a_shell_that_is_not_known_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]):
    assert run(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
    done = subprocess.run(ltxfilter("completion"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
