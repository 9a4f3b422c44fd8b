"""The command line as a process: what it prints, its exit codes, signals, pipes, subcommands."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.tools import TIMEOUT, feed_until, reports_frames

from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.main import run
from ltxfilter.engines import ENGINES

COMMAND = [sys.executable, "-m", "ltxfilter"]
RAW = ["-f", "rawvideo", "-s", "64x48", "-pix_fmt", "gray", "-r", "25"]
RAW_FRAME = bytes(range(256)) * 12  # 64x48 gray


def ltxfilter(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=stdin, capture_output=True, timeout=TIMEOUT)


def start(*words: str | Path, **pipes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, **pipes)


def wait_for(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read standard error up to the line that holds `text`."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"ended without saying {text!r}"


def lines(stderr: bytes) -> list[str]:
    return stderr.decode().splitlines()


def test_file_to_file(clip: Path, tmp_path: Path):
    done = ltxfilter("-i", clip, "--engine", "blend", "-crf", "30", tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    said = lines(done.stderr)
    assert said[0].startswith(
        f"ltxfilter: {clip} -> {tmp_path / 'out.mkv'}: 160x120 yuv420p, 25 fps"
    )
    assert said[0].endswith("25 fps -> 50 fps, engine blend")
    assert re.fullmatch(r"ltxfilter: memory: decode \d+ \+ .* = ~\d+ MB", said[1])
    assert said[2] == "ltxfilter: in 25, out 50: 25 passed through, 24 interpolated, 1 repeated"
    assert "bottleneck: " in said[3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv"]


def test_pipe_to_pipe():
    done = ltxfilter(*RAW, "--fps", "50", "--engine", "hold", stdin=RAW_FRAME * 5)
    assert done.returncode == 0, done.stderr
    header, *frames = done.stdout.split(b"FRAME\n")
    assert header.startswith(b"YUV4MPEG2 W64 H48 F50:1 ")
    assert frames == [RAW_FRAME] * 10


def test_python_m_and_the_script_are_the_same():
    assert ltxfilter("--version").stdout.startswith(b"ltxfilter 0.")
    script = Path(sys.executable).with_name("ltxfilter")
    assert subprocess.run([script, "--version"], capture_output=True, check=True).stdout


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == run(["-h"]) == 0
    text = capsys.readouterr().out
    for flag in FLAGS:
        assert re.search(rf"^  {re.escape(flag.dashed)}\b", text, re.MULTILINE), flag.name


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engin", "flow"], 2, "ltxfilter: no option --engin; did you mean --engine?"),
        (["engines", "--wobble"], 2, "--wobble"),
        (["-i", "{clip}", "--engine", "x", "{out}"], 2, "no engine 'x'; there are auto"),
        (["-i", "{clip}", "--memory", "1M", "{out}"], 2, "this job needs at least"),
        (["-i", "nothing.mp4", "{out}"], 3, "nothing.mp4"),
        (["probe", "-i", "nothing.mp4"], 3, "nothing.mp4"),
        (["-i", "{text}", "{out}"], 3, "{text}"),
        (["-i", "{clip}", "{clip}"], 4, "{clip}"),
        (["-i", "{clip}", "{text}.mkv"], 4, "already exists; add -y"),
        (["-i", "{clip}", "nowhere/out.mkv"], 4, "nowhere/out.mkv"),
        (["-i", "{clip}", "-progress", "nowhere/x", "{out}"], 4, "-progress nowhere/x"),
        ([], 3, "standard input is empty"),
    ],
)
def test_errors_are_one_line_and_a_code(
    words: list[str], code: int, message: str, clip: Path, tmp_path: Path
):
    names = {"clip": clip, "out": tmp_path / "out.mkv", "text": tmp_path / "a.txt"}
    names["text"].write_text("this is no video\n" * 50)
    Path(f"{names['text']}.mkv").touch()
    done = ltxfilter(*(word.format(**names) for word in words))
    assert done.returncode == code, done.stderr
    assert message.format(**names) in lines(done.stderr)[-1]
    assert b"Traceback" not in done.stderr
    assert not names["out"].exists()
    assert done.stdout == b""


def test_damage_is_counted_and_on_request_an_error(clip: Path, tmp_path: Path):
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    for at in range(start, start + 2000, 50):
        data[at] ^= 0xFF
    (tmp_path / "in.mp4").write_bytes(data)
    words = ["-i", tmp_path / "in.mp4", "--engine", "hold", tmp_path / "out.mkv"]
    failed = ltxfilter("-xerror", *words)
    assert failed.returncode == 3, failed.stderr
    assert b"in.mp4: is damaged, which -xerror makes an error" in failed.stderr
    assert not (tmp_path / "out.mkv").exists()
    done = ltxfilter(*words)
    assert done.returncode == 0, done.stderr
    assert re.search(rb"noticed: .*damaged \d+", done.stderr)


BROKEN = """
import sys
from ltxfilter.engines import ENGINES, hold
class Broken(hold.Hold):
    name = "broken"
    def prepare(self, window):
        return 1 // 0
ENGINES["broken"] = "__main__:Broken"
from ltxfilter.cli.main import main
main()
"""


@pytest.mark.parametrize("words", [[], ["-v", "debug"]])
def test_a_bug_is_one_line_and_its_traceback_is_shown_on_request(
    words: list[str], clip: Path, tmp_path: Path
):
    arguments = [*words, "-i", str(clip), "--engine", "broken", str(tmp_path / "out.mkv")]
    done = subprocess.run([sys.executable, "-c", BROKEN, *arguments], capture_output=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in lines(done.stderr)[-1]
    assert (b"Traceback" in done.stderr) == bool(words)
    assert not (tmp_path / "out.mkv").exists()


def test_log_levels(clip: Path, tmp_path: Path):
    words = ["-y", "-i", clip, "--engine", "hold", tmp_path / "out.mkv"]
    assert ltxfilter("-v", "warning", *words).stderr == b""
    assert ltxfilter("-v", "quiet", "-stats", *words).stderr.count(b"ltxfilter") == 0
    failed = ltxfilter("-v", "quiet", "-i", "nothing.mp4", tmp_path / "x.mkv")
    assert (failed.returncode, failed.stderr) == (3, b"")


@pytest.mark.parametrize("target", ["{file}", "-", "pipe:1", "pipe:2"])
def test_progress_blocks(target: str, clip: Path, tmp_path: Path):
    file = tmp_path / "progress.txt"
    done = ltxfilter(
        "-v", "warning", "-progress", target.format(file=file), "-i", clip, "--engine", "hold",
        tmp_path / "out.mkv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = {"pipe:2": done.stderr, "{file}": file.read_bytes() if file.exists() else b""}
    text = written.get(target, done.stdout).decode()
    assert "frame=50\n" in text
    assert text.endswith("progress=end\n")


def test_progress_never_mixes_with_frames():
    done = ltxfilter("-progress", "-", *RAW, "--engine", "hold", stdin=RAW_FRAME * 5)
    assert b"progress=end" in done.stderr
    assert b"progress" not in done.stdout


def test_the_status_line_counts_frames(tmp_path: Path):
    said = tmp_path / "stderr.txt"
    words = [*COMMAND, "-stats", *RAW, "-i", "-", "--engine", "hold", "-f", "null", "-"]
    with (
        said.open("wb") as stderr,
        subprocess.Popen(words, stdin=subprocess.PIPE, stderr=stderr) as process,
    ):
        feed_until(process, RAW_FRAME, lambda: reports_frames(said))
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, said.read_text()
    status = r"^frame= *\d+ fps=\S+ time=00:00:\d\d\.\d\d speed=\S+x \? eta=\?$"
    assert re.search(status, said.read_text(), re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_the_status_line_overwrites_itself_on_a_terminal(tmp_path: Path):
    import pty

    ours, theirs = pty.openpty()
    words = [*COMMAND, *RAW, "-i", "-", "--engine", "hold", "-f", "null", "-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""

        def shows_frames() -> bool:
            nonlocal said
            while select.select([ours], [], [], 0)[0]:
                said += os.read(ours, 4096)
            return b"frame=" in said

        feed_until(process, RAW_FRAME, shows_frames)
        process.communicate(timeout=TIMEOUT)
    with contextlib.suppress(OSError):  # Linux reports a terminal without a writer so
        while more := os.read(ours, 4096):
            said += more
    os.close(ours)
    assert re.search(rb"\rframe= *\d+ fps=.*\n(.*\n)*ltxfilter: in \d+, out \d+", said)


def test_engines_are_listed(capsys: pytest.CaptureFixture[str]):
    assert run(["engines"]) == 0
    text = capsys.readouterr().out
    for name in ENGINES:
        assert re.search(rf"^{name}: ", text, re.MULTILINE)
    assert re.search(r"^    preset=balanced +\S", text, re.MULTILINE)


def test_the_doctor_finds_what_is_there_and_says_how_to_get_the_rest():
    done = ltxfilter("doctor")
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    for name in (
        "python",
        "cores",
        "memory",
        "av",
        "numpy",
        "cv2",
        "torch",
        "kernels",
        "engine flow",
    ):
        assert re.search(rf"^{name} +\S", text, re.MULTILINE), name
    assert "libx264" in text
    for line in text.splitlines():
        assert "missing" not in line or "; " in line, line


def test_probe_prints_the_plan_and_writes_nothing(clip: Path, tmp_path: Path):
    done = ltxfilter("probe", "-i", clip, "--fps", "60", "-an", tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    text = lines(done.stdout)
    assert text[0] == f"input: {clip}, 160x120 yuv420p, 25 fps, 25 frames"
    assert text[1] == "output: 60 fps, 60 frames in 1.000 s"
    assert text[2] == "output times: 0, 1/60, 1/30, ... 59/60 s"
    assert text[3] == "passed through: 5 of 25 source frames; to interpolate or repeat: 55"
    assert "stream 0: video h264, interpolated" in text
    assert any(re.fullmatch(r"stream 1: audio aac, dropped: .+", line) for line in text)
    assert text[-1].startswith("memory: decode ")
    assert not list(tmp_path.iterdir())


def test_probe_reads_raw_files(tmp_path: Path):
    (tmp_path / "in.yuv").write_bytes(RAW_FRAME * 7)
    done = ltxfilter("probe", *RAW, "-i", tmp_path / "in.yuv", "--fps", "2x", "-f", "rawvideo", "-")
    assert done.returncode == 0, done.stderr
    assert "output: 50 fps, 14 frames in 0.280 s" in lines(done.stdout)
    assert "passed through: 7 of 7 source frames; to interpolate or repeat: 7" in lines(done.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_stdin_is_silent(number: signal.Signals):
    with start("-v", "debug", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_for(process, b"opening -")
        time.sleep(0.3)  # lets it begin to wait for its input, which never arrives
        process.send_signal(number)
        assert process.wait(TIMEOUT) == 128 + number
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_part_that_is_done(number: signal.Signals, tmp_path: Path):
    out, blocks = tmp_path / "out.mkv", tmp_path / "progress.txt"
    words = [*RAW, "-i", "-", "--engine", "blend", "-progress", blocks, out]
    with start(*words, stdin=subprocess.PIPE) as process:
        feed_until(process, RAW_FRAME, lambda: reports_frames(blocks))
        process.send_signal(number)  # while nothing more arrives on its input
        assert process.wait(TIMEOUT) == 128 + number
        assert process.stderr is not None
        said = process.stderr.read().decode()
    blocks.unlink()
    assert re.search(r"out\.mkv\.part holds the first \d+\.\d+ s", said)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.part"]
    again = ltxfilter("probe", "-i", tmp_path / "out.mkv.part")
    assert again.returncode == 0, again.stderr


def test_a_signal_while_the_reader_stalls():
    reader, writer = os.pipe()
    endless = subprocess.Popen(
        [sys.executable, "-c", "import sys\nwhile True: sys.stdout.buffer.write(bytes(65536))"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        words = [*RAW, "--engine", "hold"]
        with start(*words, stdin=endless.stdout.fileno(), stdout=writer) as process:
            wait_for(process, b"memory: ")
            time.sleep(0.5)  # lets it fill the pipe that nobody reads
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 143
    finally:
        endless.kill()
        endless.communicate()
        os.close(reader)
        os.close(writer)


def test_a_second_signal_ends_at_once():
    with start("-v", "debug", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_for(process, b"opening -")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 143


def test_a_reader_that_leaves_is_no_error():
    reader, writer = os.pipe()
    with start(*RAW, "--engine", "hold", stdin=subprocess.PIPE, stdout=writer) as process:
        os.close(writer)
        os.close(reader)
        _, said = process.communicate(RAW_FRAME * 1000, TIMEOUT)  # ignores EPIPE itself
        assert process.returncode == 141
        assert b"rror" not in said


def test_a_list_piped_into_head_is_no_error():
    with start("doctor", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(TIMEOUT) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
