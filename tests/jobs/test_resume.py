"""A job that is killed is carried on, and gives what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest
from support.jobs import SEGMENTS, RunningJob, digests
from support.tools import TIMEOUT, ffmpeg, ltxfilter, run_pipe

from ltxfilter import convert
from ltxfilter.errors import OptionError, OutputError
from ltxfilter.jobs.journal import JOURNAL, Journal, read_journal, work_folder
from ltxfilter.options import Options, OutputOptions

OPTIONS = ("--engine", "blend", "--fps", "40", "--segment-seconds", "10")
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


def command(film: Path, output: Path, *more: object) -> list[object]:
    return ["--resume", *more, "-i", film, *OPTIONS, *LOSSLESS, output]


@pytest.fixture(scope="module")
def whole(film: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the digests of the frames of a run that is not cut."""
    path = tmp_path_factory.mktemp("whole") / "out.mkv"
    assert run_pipe(ltxfilter("-i", film, *OPTIONS[:4], *LOSSLESS, path)).codes == [0]
    return digests(path)


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_job_is_carried_on(
    seed: int, film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    chance = random.Random(seed)
    output = tmp_path / "out.mkv"
    folder = tmp_path / "out.mkv.part.d"
    job = RunningJob(folder, *command(film, output, "--workers", chance.choice((1, 2))))
    started.append(job)
    job.wait_for(chance.randint(0, SEGMENTS - 1))
    sleep(chance.random() / 5)
    job.kill()
    before = job.stored() if folder.exists() else 0
    result = run_pipe(ltxfilter(*command(film, output)))
    assert result.codes == [0], result.err
    if not output_was_finished(result.err):
        assert f"{before} reused" in result.err
    assert digests(output) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.log", "out.mkv"]


def output_was_finished(said: str) -> bool:
    return "is complete since an earlier run" in said


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_dies_is_replaced(
    count: int, film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / "out.mkv"
    folder = tmp_path / "out.mkv.part.d"
    job = RunningJob(folder, *command(film, output, "--workers", count))
    started.append(job)
    for pid in job.wait_for_workers(count):
        os.kill(pid, signal.SIGKILL)
    assert job.process.wait(TIMEOUT) == 0
    said = (tmp_path / "job.log").read_text()
    assert "is made again: its process was killed by SIGKILL" in said
    assert f", {count} redone" in said
    assert digests(output) == whole


def test_workers_leave_when_their_job_is_killed(
    film: Path, tmp_path: Path, started: list[RunningJob]
) -> None:
    job = RunningJob(tmp_path / "o.mkv.part.d", *command(film, tmp_path / "o.mkv", "--workers", 2))
    started.append(job)
    job.wait_for(1)
    workers = job.workers()
    job.kill()
    deadline = monotonic() + TIMEOUT
    while any(is_worker(pid) for pid in workers):
        assert monotonic() < deadline, "a worker is left"
        sleep(0.05)


def is_worker(pid: int) -> bool:
    try:
        return b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_job_says_how_to_carry_on(
    number: int, film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / "out.mkv"
    job = RunningJob(tmp_path / "out.mkv.part.d", *command(film, output, "--workers", 2))
    started.append(job)
    job.wait_for(2)
    assert job.kill(number) == 128 + number
    said = (tmp_path / "job.log").read_text()
    assert "segments are done: the same command again carries on" in said
    shown = subprocess.run(ltxfilter("jobs"), capture_output=True, text=True, check=True).stdout
    assert f"{output}: " in shown
    assert f"of {SEGMENTS} segments" in shown
    assert "--resume" in shown
    assert run_pipe(ltxfilter(*command(film, output))).codes == [0]
    assert digests(output) == whole
    shown = subprocess.run(ltxfilter("jobs"), capture_output=True, text=True, check=True).stdout
    assert shown == "no unfinished jobs\n"


def test_a_finished_job_is_left_alone(film: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    assert run_pipe(ltxfilter(*command(film, output))).codes == [0]
    before = output.stat()
    left = tmp_path / "out.mkv.part.d"
    left.mkdir()  # as by a kill before it was tidied up
    (left / "000000.segment").write_bytes(b"left")
    again = run_pipe(ltxfilter(*command(film, output)))
    assert again.codes == [0]
    assert output_was_finished(again.err)
    assert output.stat().st_mtime_ns == before.st_mtime_ns
    assert not left.exists()
    other = run_pipe(ltxfilter(*command(film, output, "--no-cuts")))
    assert other.codes == [4]
    assert "already exists" in other.err
    assert not (tmp_path / "out.mkv.part.d").exists()


def stopped_job(film: Path, output: Path, started: list[RunningJob]) -> Path:
    """Leave a job with some of its segments stored; return its work folder."""
    folder = output.with_name(output.name + ".part.d")
    job = RunningJob(folder, *command(film, output))
    started.append(job)
    job.wait_for(2)
    job.kill(signal.SIGKILL)
    assert 2 <= job.stored() < SEGMENTS
    return folder


def test_another_job_in_the_folder_is_refused_and_restart_discards_it(
    film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / "out.mkv"
    folder = stopped_job(film, output, started)
    kept = sorted(folder.iterdir())
    changed = run_pipe(ltxfilter(*command(film, output, "--speed", "0.5")))
    assert changed.codes == [2]
    assert 'speed was "1", is "1/2"' in changed.err
    assert "--resume=restart" in changed.err
    plain = run_pipe(ltxfilter("--workers", "1", *command(film, output)[1:]))
    assert plain.codes == [2]
    assert "holds an unfinished job" in plain.err
    assert sorted(folder.iterdir()) == kept
    anew = run_pipe(ltxfilter("--resume=restart", *command(film, output)[1:]))
    assert anew.codes == [0]
    assert " 0 reused" in anew.err
    assert digests(output) == whole


@pytest.mark.parametrize("change", ["workers", "memory", "threads", "report", "copied input"])
def test_what_changes_no_picture_does_not_matter(
    change: str, film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / "out.mkv"
    folder = stopped_job(film, output, started)
    stored = sum("segment" in entry for entry in read_journal(folder))
    more: dict[str, list[object]] = {
        "workers": ["--workers", "2"],
        "memory": ["--memory", "1G"],
        "threads": ["-threads", "1"],
        "report": ["--report", tmp_path / "r.json"],
        "copied input": [],
    }
    source = film
    if change == "copied input":
        source = Path(shutil.copy(film, tmp_path / "copy.mkv"))
        os.utime(source, (4e9, 4e9))  # the clock has jumped, too
    words = command(source, output)
    result = run_pipe(ltxfilter(*words[:-1], *more[change], words[-1]))
    assert result.codes == [0], result.err
    assert f"{stored} reused" in result.err
    assert digests(output) == whole


def test_a_damaged_segment_is_made_again(
    film: Path, whole: list[str], tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / "out.mkv"
    folder = stopped_job(film, output, started)
    first = sorted(folder.glob("*.segment"))[0]
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    result = run_pipe(ltxfilter(*command(film, output)))
    assert result.codes == [0], result.err
    assert "is damaged; it is made again" in result.err
    assert "1 redone" in result.err
    assert digests(output) == whole


def test_two_processes_do_not_work_on_one_job(film: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    with Journal(tmp_path / "out.mkv.part.d", {}, "yes"):
        second = run_pipe(ltxfilter(*command(film, output)))
    assert second.codes == [4]
    assert "another run works on this job" in second.err


def test_a_segment_that_cannot_be_stored_ends_the_job_and_keeps_the_others(
    film: Path, whole: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    shell = ["bash", "-c", 'ulimit -f 150; exec "$@"', "bash", *ltxfilter(*command(film, output))]
    full = run_pipe(shell)
    assert full.codes == [4], full.err
    assert "File too large" in full.err
    again = run_pipe(ltxfilter(*command(film, output)))
    assert again.codes == [0], again.err
    assert digests(output) == whole


def test_a_work_folder_may_lie_elsewhere(film: Path, whole: list[str], tmp_path: Path) -> None:
    output, work = tmp_path / "out.mkv", Path("/dev/shm") / f"ltxfilter-{os.getpid()}"
    try:
        result = run_pipe(ltxfilter(*command(film, output, "--work-dir", work)))
        assert result.codes == [0], result.err
        assert f"segments are kept in {work}" in result.err
        assert not work.exists()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    assert digests(output) == whole


@pytest.mark.parametrize("length", [200, 249, 251])
def test_a_long_name_has_a_work_folder_too(
    length: int, film: Path, tmp_path: Path, started: list[RunningJob]
) -> None:
    output = tmp_path / ("n" * (length - 4) + ".mkv")
    folder = work_folder(Options(output=OutputOptions(path=str(output))))
    job = RunningJob(folder, *command(film, output))
    started.append(job)
    job.wait_for(2)
    job.kill(signal.SIGKILL)
    assert job.stored() >= 2
    result = run_pipe(ltxfilter(*command(film, output)))
    assert result.codes == [0], result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.log", output.name]


def test_from_python(film: Path, whole: list[str], tmp_path: Path) -> None:
    progress = convert(
        film,
        tmp_path / "out.mkv",
        fps=40,
        engine="blend",
        video={"codec": "libx264", "qp": 0, "preset": "ultrafast"},
        resume=True,
        workers=2,
        segment_seconds=10,
    )
    assert progress.segments == {"planned": SEGMENTS, "reused": 0, "redone": 0}
    assert sum(progress.workers.values()) == SEGMENTS
    assert digests(tmp_path / "out.mkv") == whole
    with pytest.raises(OptionError, match="multiple of 10"):
        convert(film, tmp_path / "o.mkv", workers=2, segment_seconds=15)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-b:v", "200k", "-maxrate", "300k", "-bufsize", "300k"), 2, "-maxrate and -bufsize"),
        (("-pass", "1"), 2, "-pass is not supported"),
        (("-x264-params", "pass=1"), 2, "two passes need the whole video"),
        (("-x264-params", "vbv-maxrate=300:vbv-bufsize=300"), 2, "-maxrate and -bufsize"),
        (("-frames:v", "20"), 2, "-frames:v counts over all segments"),
        (("--engine", "nope"), 2, "no engine 'nope'"),
        (("--workers", "many"), 2, "give a number of processes, or auto"),
        (("-b:v", "200k"), 0, "rate control begins anew in each segment"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    options: tuple[str, ...],
    code: int,
    said: str,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "out.mkv"
    result = run_pipe(ltxfilter("--workers", "2", "-i", film, *OPTIONS, *options, output))
    assert result.codes == [code], result.err
    assert said in result.err
    assert [path.name for path in tmp_path.iterdir()] == (["out.mkv"] if code == 0 else [])


@pytest.mark.parametrize("kind", ["matroska", "mpegts", "nut", "yuv4mpegpipe"])
def test_standard_input_is_kept_in_a_file(
    kind: str, film: Path, whole: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    coded = () if kind == "yuv4mpegpipe" else ("-c", "copy")
    result = run_pipe(
        ffmpeg("-i", film, *coded, "-f", kind, "-"),
        ltxfilter("--workers", "2", *OPTIONS, *LOSSLESS, output),
    )
    assert result.codes == [0, 0], result.err
    assert "is written to" in result.err
    assert digests(output) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_headerless_standard_input_is_refused(film: Path, tmp_path: Path) -> None:
    words = ("-s", "64x48", "-pix_fmt", "yuv420p", "-r", 10, tmp_path / "o.mkv")
    result = run_pipe(ffmpeg("-i", film, "-f", "rawvideo", "-"), ltxfilter("--resume", *words))
    assert result.codes[-1] == 3
    assert "has no header that says what it holds" in result.err


@pytest.mark.parametrize(
    "name", ["o.y4m", "o.yuv", "o.nut", "o.mp4", "o.mov", "o.ts", "o.webm", "o%05d.png", "o.m3u8"]
)
def test_every_kind_of_output(name: str, film: Path, tmp_path: Path) -> None:
    plain, cut = tmp_path / "plain", tmp_path / "cut"
    plain.mkdir()
    cut.mkdir()
    lossless = LOSSLESS if Path(name).suffix in (".mp4", ".mov", ".ts", ".m3u8") else ()
    if name == "o.webm":
        lossless = ("-c:v", "libvpx-vp9", "-lossless", "1")
    words = ("-t", "25", "-i", film, *OPTIONS[:4], *lossless)
    assert run_pipe(ltxfilter(*words, plain / name)).codes == [0]
    result = run_pipe(ltxfilter("--workers", "2", "--segment-seconds", "10", *words, cut / name))
    assert result.codes == [0], result.err
    if name in ("o.y4m", "o.yuv", "o%05d.png"):
        made = {path.name: path.read_bytes() for path in plain.iterdir()}
        assert {path.name: path.read_bytes() for path in cut.iterdir()} == made
    else:
        assert digests(cut / name) == digests(plain / name)


def test_frames_on_standard_output(film: Path, tmp_path: Path) -> None:
    words = ("-i", film, "-t", "25", *OPTIONS, "-f", "yuv4mpegpipe", "-")
    plain = run_pipe(ltxfilter(*words))
    refused = run_pipe(ltxfilter("--workers", "2", *words))
    assert refused.codes == [2]
    assert "name one for the segments with --work-dir" in refused.err
    cut = run_pipe(ltxfilter("--workers", "2", "--work-dir", tmp_path / "w", *words))
    assert cut.codes == [0], cut.err
    assert cut.out == plain.out
    assert not (tmp_path / "w").exists()


def test_a_journal_cut_at_any_byte_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    key = {"speed": "1"}
    folder = tmp_path / "work"
    with Journal(folder, key, "yes") as journal:
        journal.begin({"planned": 3})
        for number in range(3):
            journal.path_of(number).write_bytes(b"x" * (number + 1))
            journal.add(number, counts={"passed": number})
    text = (folder / JOURNAL).read_bytes()
    ends = [at + 1 for at, byte in enumerate(text) if byte == ord("\n")]
    for size in range(len(text) + 1):
        (folder / JOURNAL).write_bytes(text[:size])
        with Journal(folder, key, "yes") as journal:
            known = sum(size >= end - 1 for end in ends)  # the line feed alone may be missing
            assert sorted(journal.done) == list(range(known))
            journal.note("looked")
        with Journal(folder, key, "yes") as journal:
            assert sorted(journal.done) == list(range(known))


def test_a_journal_believes_no_file_of_another_size(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", {}, "yes") as journal:
        journal.begin({})
        journal.path_of(0).write_bytes(b"whole")
        journal.add(0)
        journal.path_of(0).write_bytes(b"cut")
    with Journal(tmp_path / "work", {}, "yes") as journal:
        assert journal.done == {}


def test_a_journal_is_locked(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", {}, "yes"), pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "work", {}, "yes")


def test_a_job_file_that_is_torn_begins_anew(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", {"a": 1}, "yes") as journal:
        journal.begin({"planned": 1})
    text = (tmp_path / "work" / "job.json").read_text()
    assert json.loads(text)["key"] == {"a": 1}
    (tmp_path / "work" / "job.json").write_text(text[:-5])
    with Journal(tmp_path / "work", {"a": 2}, "yes") as journal:
        assert journal.done == {}
