"""Jobs on Ray give what a plain run gives, whoever dies and whatever a node cannot see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from support.jobs import RunningJob, digests
from support.ray_nodes import MARK, OWN, RayNode, actors, can_hide, raylets
from support.tools import TIMEOUT, ltxfilter, make_clip, run_pipe

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ltxfilter[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]

OPTIONS = ("--engine", "flow", "--fps", "60", "--segment-seconds", "10")
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 50 seconds of video in five segments that take a second or two each."""
    path = tmp_path_factory.mktemp("movie") / "in.mkv"
    return make_clip(path, "-g", "20", size="320x180", rate="10", seconds=50)


@pytest.fixture(scope="module")
def plain(movie: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the digests of the frames of a run that is not cut."""
    path = tmp_path_factory.mktemp("plain") / "out.mkv"
    assert run_pipe(ltxfilter("-i", movie, *OPTIONS[:4], *LOSSLESS, path)).codes == [0]
    return digests(path)


@pytest.fixture
def nodes() -> Iterator[list[RayNode]]:
    """Return a list for nodes that are to be ended with the test."""
    running: list[RayNode] = []
    yield running
    for node in reversed(running):
        node.close()


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Mark the processes of Ray that jobs of this test start; return the mark."""
    mark = uuid.uuid4().hex
    for name, value in {**OWN, MARK: mark, "RAY_ADDRESS": "local"}.items():
        monkeypatch.setenv(name, value)
    return mark


def command(movie: Path, output: Path, *more: object) -> list[object]:
    return ["--resume", *more, "-i", movie, *OPTIONS, *LOSSLESS, output]


def run(job: RunningJob) -> str:
    """Wait for the end of a job; return what it said."""
    code = job.process.wait(2 * TIMEOUT)
    said = (job.folder.parent / "job.log").read_text()
    assert code == 0, said
    return said


def wait_for_none(mark: str) -> None:
    deadline = monotonic() + TIMEOUT
    while raylets(mark):
        assert monotonic() < deadline, "Ray is left"
        sleep(0.1)


CALL = """
import os, signal, sys, threading, time
from ltxfilter import convert
from support.ray_nodes import actors

def kill_one(progress):
    if progress.frames_out > 700 and not killed:
        killed.extend(actors(sys.argv[3])[:1])
        os.kill(killed[0], signal.SIGKILL)

killed = []
progress = convert(
    sys.argv[1], sys.argv[2], ray="auto", workers=2, engine="flow", fps=60, segment_seconds=10,
    video={"codec": "libx264", "qp": 0, "preset": "ultrafast"}, on_progress=kill_one,
)
assert progress.segments == {"planned": 5, "reused": 0, "redone": 1}, progress.segments
"""


def test_a_killed_actor_is_replaced_and_nothing_is_written_to_standard_output(
    movie: Path, plain: list[str], tmp_path: Path, mark: str
):
    output = tmp_path / "out.mkv"
    done = subprocess.run(
        [sys.executable, "-c", CALL, movie, output, mark],
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "segment" in done.stderr
    assert "is made again: actor" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert digests(output) == plain
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    wait_for_none(mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_is_ended_takes_its_cluster_along_and_can_be_carried_on(
    number: int, movie: Path, plain: list[str], tmp_path: Path, mark: str, started: list[RunningJob]
):
    output = tmp_path / "out.mkv"
    folder = tmp_path / "out.mkv.part.d"
    job = RunningJob(folder, *command(movie, output, "--ray", "auto", "--workers", "2"))
    started.append(job)
    job.wait_for(1)
    began = monotonic()
    assert job.kill(number) == (128 + number if number == signal.SIGTERM else -number)
    assert monotonic() - began < 2
    wait_for_none(mark)
    stored = job.stored()
    result = run_pipe(ltxfilter(*command(movie, output)))
    assert result.codes == [0], result.err
    assert f"{stored} reused" in result.err
    assert digests(output) == plain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.log", "out.mkv"]


def test_a_node_that_dies_costs_at_most_its_segment(
    movie: Path,
    plain: list[str],
    tmp_path: Path,
    mark: str,
    started: list[RunningJob],
    nodes: list[RayNode],
):
    nodes.append(RayNode())
    nodes.append(RayNode(nodes[0].address))
    output = tmp_path / "out.mkv"
    folder = tmp_path / "out.mkv.part.d"
    job = RunningJob(folder, *command(movie, output, "--ray", nodes[0].address))
    started.append(job)
    job.wait_for(1)
    assert len(actors(nodes[1].mark)) == 1
    nodes[1].kill()
    said = run(job)
    assert "2 actors on 2 nodes" in said
    assert said.count("is made again: actor") == 1
    assert ", 1 redone" in said
    assert digests(output) == plain


@pytest.mark.skipif(not can_hide(), reason="needs a mount namespace: unshare -rm")
def test_a_node_that_sees_nothing_is_sent_the_input_and_its_segments_are_fetched(
    movie: Path,
    plain: list[str],
    tmp_path: Path,
    mark: str,
    started: list[RunningJob],
    nodes: list[RayNode],
):
    shared = tmp_path / "shared"
    shared.mkdir()
    source = shared / "in.mkv"
    source.write_bytes(movie.read_bytes())
    nodes.append(RayNode())
    nodes.append(RayNode(nodes[0].address, cpus=2, hides=shared))
    output = shared / "out.mkv"
    job = RunningJob(
        shared / "out.mkv.part.d",
        *command(source, output, "--ray", nodes[0].address, "--workers", "3"),
    )
    started.append(job)
    said = run(job)
    assert "3 actors on 2 nodes" in said
    assert said.count(f"does not see {source}") == 1  # its two actors share one copy
    assert "0 redone" in said
    makers = said.split("redone; ")[1].split("\n")[0]
    assert makers.count("actor") > 1, said
    assert digests(output) == plain
    assert sorted(path.name for path in shared.iterdir()) == ["in.mkv", "job.log", "out.mkv"]
    deadline = monotonic() + TIMEOUT
    while nodes[0].left() or nodes[1].left():
        assert monotonic() < deadline, "an actor has left files on its node"
        sleep(0.1)


@pytest.mark.skipif(not can_hide(), reason="needs a mount namespace: unshare -rm")
def test_a_node_that_lacks_a_model_file_is_named_before_work(
    movie: Path, tmp_path: Path, mark: str, nodes: list[RayNode]
):
    models = tmp_path / "models"
    models.mkdir()
    checkpoint = models / "ltx.safetensors"
    checkpoint.write_bytes(b"whatever the engine would say of it")
    nodes.append(RayNode())
    nodes.append(RayNode(nodes[0].address, hides=models))
    output = tmp_path / "out.mkv"
    result = run_pipe(
        ltxfilter(
            *("--ray", nodes[0].address, "-i", movie, "--engine", "auto"),
            *("--checkpoint", checkpoint, "--segment-seconds", "10", output),
        )
    )
    assert result.codes == [5], result.err
    assert f"lacks, or has otherwise: {checkpoint}" in result.err
    assert "node " in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_an_address_where_nobody_answers_is_named(movie: Path, tmp_path: Path, mark: str):
    result = run_pipe(ltxfilter("--ray", "127.0.0.1:1", "-i", movie, tmp_path / "out.mkv"))
    assert result.codes == [2], result.err
    assert "--ray 127.0.0.1:1: " in result.err
