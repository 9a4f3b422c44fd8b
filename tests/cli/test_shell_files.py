"""Completions and the manual page: what the shells and groff make of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.tools import TIMEOUT, ltxfilter

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


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("--repeats sm", "--repeats smooth"),
        ("--eng", "--engine"),
        ("-c:v libx265 -pix_fmt yuv422p1", "-c:v libx265 -pix_fmt yuv422p10le"),
        ("complet\tfi", "completion fish"),
        ("context --prompt-", "context --prompt-file"),
    ],
)
def test_zsh_completes(typed: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Type in a terminal, since zsh completes nowhere else."""
    zsh = need("zsh")
    (tmp_path / "_ltxfilter").write_text(printed(capsys, "completion", "zsh"))
    keys = [
        f"PS1=; fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D",
        'ltxfilter() { print -r -- "<$*>" }',
        f"ltxfilter {typed}\t",
        "exit",
    ]
    master, slave = os.openpty()
    with subprocess.Popen(
        [zsh, "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={"TERM": "dumb", "PATH": ""},
    ) as shell:  # fmt: skip
        os.close(slave)
        for line in keys:
            os.write(master, f"{line}\n".encode())
        said = b""
        with contextlib.suppress(OSError):  # it has ended
            while data := os.read(master, 4096):
                said += data
        assert shell.wait(TIMEOUT) == 0
    os.close(master)
    assert f"<{found}>" in said.decode(), said


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
