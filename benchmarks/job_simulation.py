"""How long a job takes with 1 to 1,000 workers: planned, not run, from costs that are measured.

python -m benchmarks.job_simulation [--measure] [--no-ray]; results/job_simulation.json and .svg

The plan and the order of work are the real ones (`plan_segments`, `Work`); the workers and the
clock are simulated. A worker's work is CPU time, as of a worker with a core for itself. With
--measure the costs are measured on this machine first, in a minute or
two; else those of the results are used. The plot needs matplotlib: pip install -e ".[benchmarks]"
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.record import RESULTS, table, write
from ltxfilter.jobs.segments import SegmentPlan, plan_segments
from ltxfilter.jobs.tally import Tally
from ltxfilter.jobs.work import Work
from ltxfilter.jobs.workers.pool import Event
from ltxfilter.jobs.workers.segment_maker import COUNTS
from ltxfilter.media.base import FrameTimes
from ltxfilter.values import MIB
from ltxfilter.windows.segment import Segment

NAME = "job_simulation"
FILM = 2 * 3600  # seconds
SOURCE_RATE = 24
SPREAD = 0.3  # of the logarithm of a segment's work, as scenes differ
PREROLL = 1.0  # seconds of film that are decoded before a segment; an I-frame every 2 s
WORKERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)
LTX_SECONDS = 1.0  # for each output frame, in the middle of what the LTX engines take on a GPU
OUTPUT_RATE = 60
PROGRESS_SECONDS, ANSWERS = 0.3, 200  # see jobs/ray_cluster/needs.py
NONE = dict.fromkeys(COUNTS, 0)


@dataclass(frozen=True, slots=True)
class Costs:
    """What is measured, in seconds unless it says otherwise."""

    work: float  # of a worker, for a second of the film
    segment: float  # of a warm worker, for a segment beside its frames
    encoder: float  # of that: opening the encoder
    entry: float  # decoding a second of film before the segment's begin
    start: float  # of a worker, until it begins with its first frame
    join: float  # of the driver, for a segment of 10 s; longer ones take more
    segment_bytes: float  # for a second of film
    pool: float = 0.0  # until workers can be started
    call: float = 0.0  # of the driver, for each message from or to a worker
    fetched: float = 0.0  # bytes in a second from a node to the driver; 0: a shared folder


class Clock:
    """The driver's time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy = 0.0  # seconds that the driver has worked

    def spend(self, seconds: float) -> None:
        """Let the driver work."""
        self.now += seconds
        self.busy += seconds


class SimulatedPool:
    """Workers that need as long as the costs say."""

    name, names = "worker", "workers"

    def __init__(self, size: int, costs: Costs, lengths: list[float], clock: Clock) -> None:
        """lengths: seconds of work for each segment."""
        self.size = size
        self._costs, self._lengths, self._clock = costs, lengths, clock
        self._ends: list[tuple[float, int, int]] = []  # when, which worker, which segment
        self._idle = set(range(size))
        self._warm: set[int] = set()
        self.worked = 0.0

    def idle(self) -> list[int]:
        """Return the workers that have nothing to do."""
        return sorted(self._idle)

    def give(self, worker: int, segment: Segment, path: Path) -> None:  # noqa: ARG002
        """Let a worker make a segment."""
        self._clock.spend(self._costs.call)
        self._idle.remove(worker)
        seconds = self._costs.segment + self._lengths[segment.number]
        self.worked += seconds
        if worker not in self._warm:
            self._warm.add(worker)
            seconds += self._costs.start
        heapq.heappush(self._ends, (self._clock.now + seconds, worker, segment.number))

    def events(self, timeout: float) -> list[Event]:  # noqa: ARG002
        """Return the segments that are stored by now; wait for one, however long it takes."""
        clock, costs = self._clock, self._costs
        before = clock.now
        clock.now = max(clock.now, self._ends[0][0])  # nothing changes before
        working = min(self.size, len(self._ends))
        reports = (clock.now - before) * working / max(PROGRESS_SECONDS, self.size / ANSWERS)
        clock.spend(reports * costs.call)
        found = []
        while self._ends and self._ends[0][0] <= clock.now:
            _, worker, number = heapq.heappop(self._ends)
            self._idle.add(worker)
            clock.spend(costs.call)
            values = {"counts": NONE, "elapsed": 0.0}
            found.append(Event("stored", worker, number, values))
        return found

    def stop(self) -> None:
        """Do nothing: the simulation runs to its end."""

    def close(self) -> None:
        """Do nothing: there is nobody."""


class SimulatedJournal:
    """Keeps what is done in memory."""

    def __init__(self) -> None:
        self.done: dict[int, dict[str, Any]] = {}

    def path_of(self, number: int) -> Path:
        """Return a name that nobody writes."""
        return Path(f"{number}.segment")

    def add(self, number: int, **noted: Any) -> None:
        """Note that a segment is stored."""
        self.done[number] = noted


def film_plan(seconds: int, duration: int = FILM) -> SegmentPlan:
    """Plan the film in segments of so many seconds, with an I-frame every second."""
    times = [Fraction(number, SOURCE_RATE) for number in range(duration * SOURCE_RATE)]
    found = FrameTimes(times, Fraction(duration), times[::SOURCE_RATE])
    return plan_segments(found, Fraction(0), seconds, Fraction(1))


def simulate(plan: SegmentPlan, seconds: int, size: int, costs: Costs, slow: float = 1.0) -> dict:
    """Let `size` workers make a film. slow: how many times as long the first segment takes."""
    chance = random.Random(1)
    count = len(plan.segments)
    draws = [chance.lognormvariate(0, SPREAD) for _ in range(count)]
    mean = statistics.fmean(draws)
    lengths = [seconds * (costs.work * draw / mean) + PREROLL * costs.entry for draw in draws]
    lengths[0] *= slow
    clock, journal = Clock(), SimulatedJournal()
    pool = SimulatedPool(size, costs, lengths, clock)
    clock.now = costs.pool
    tally = Tally(plan, Fraction(OUTPUT_RATE), Fraction(1, SOURCE_RATE))
    work = Work(plan, journal, tally, pool)  # type: ignore[arg-type]
    waiting = 0  # segments on the disk at most
    for number in work.stored(None, threading.Event()):
        waiting = max(waiting, len(journal.done) - number)
        size_bytes = seconds * costs.segment_bytes
        clock.spend(
            costs.join * seconds / 10 + (size_bytes / costs.fetched if costs.fetched else 0.0)
        )
    ideal = FILM * costs.work / size
    return {
        "workers": size,
        "segment_s": seconds,
        "segments": count,
        "makespan_s": round(clock.now, 2),
        "ideal_s": round(ideal, 2),
        "efficiency": round(ideal / clock.now, 4),
        "driver_busy": round(clock.busy / clock.now, 4),
        "waiting_segments": waiting,
        "waiting_mb": round(waiting * seconds * costs.segment_bytes / MIB, 1),
    }


def scenarios(costs: Mapping[str, Costs]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all cases."""
    plans = {seconds: film_plan(seconds) for seconds in (10, 20)}
    for name, cost in costs.items():
        for seconds, plan in plans.items():
            for size in WORKERS:
                yield {"case": name, **simulate(plan, seconds, size, cost)}
    for size in (4, 64, 1000):
        case = {"case": "local, first segment 50 times as slow"}
        yield {**case, **simulate(plans[20], 20, size, costs["local"], slow=50)}


def make_film(folder: Path, size: str, seconds: int) -> Path:
    """Make a film with an I-frame every second."""
    path = folder / "film.mkv"
    graph = f"testsrc2=s={size}:r={SOURCE_RATE}:d={seconds},noise=alls=8:allf=t"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", graph, "-g", str(SOURCE_RATE), path]
    subprocess.run(command, check=True)
    return path


def measure(size: str, seconds: int = 40) -> dict[str, Any]:
    """Measure what a worker and the driver take on this machine."""
    from ltxfilter.jobs.workers.segment_maker import SegmentMaker
    from ltxfilter.options import InputOptions, JobOptions, Options, OutputOptions

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_film(folder, size, seconds)
        options = Options(
            input=InputOptions(path=str(film), threads=1),
            output=OutputOptions(path=str(folder / "out.mkv"), codec="libx264"),
            fps=str(OUTPUT_RATE),
            engine="flow",
            threads=1,
            job=JobOptions(workers=1, segment_seconds=10),
        )
        maker = SegmentMaker(options)
        ends = [Fraction(end) for end in range(0, seconds + 1, 2)]
        found: dict[int, list[float]] = {2: [], 6: []}
        for repeat in range(3):  # the first one warms it up
            for length in found:
                begin = ends[5]  # at a reset point, and at an I-frame
                segment = Segment(0, Fraction(0), begin, begin + length)
                began = process_time()
                maker.make(segment, folder / "s.segment")
                if repeat:
                    found[length].append(process_time() - began)
        maker.close()
        stored = (folder / "s.segment").stat().st_size / 6
        short, long = (statistics.median(found[length]) for length in (2, 6))
        work = (long - short) / 4
        return {
            "work": work,
            "segment": max(short - 2 * work, 0.0),
            "encoder": _encoder_seconds(size),
            "entry": _decoding_seconds(film, seconds),
            "start": _start_seconds(options, folder),
            "join": _join_seconds(replace(options, engine="hold"), seconds),
            "segment_bytes": stored,
        }


def _encoder_seconds(size: str) -> float:
    """Return how long the encoder takes to open."""
    import av

    width, height = map(int, size.split("x"))
    taken = []
    for _ in range(5):
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = width, height  # type: ignore[attr-defined]
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 60)  # type: ignore[attr-defined]
        encoder.options = {"threads": "4"}
        began = perf_counter()
        encoder.open()
        taken.append(perf_counter() - began)
    return statistics.median(taken)


def _decoding_seconds(film: Path, seconds: int) -> float:
    """Return how long a second of film takes to decode, with one thread."""
    import av

    with av.open(str(film)) as container:
        container.streams.video[0].thread_count = 1
        began = process_time()
        for _ in container.decode(video=0):
            pass
        return (process_time() - began) / seconds


def _start_seconds(options: Any, folder: Path) -> float:
    """Return how long a worker process takes until it has opened everything."""
    from ltxfilter.jobs.workers.local import LocalPool

    taken = []
    for _ in range(3):
        pool = LocalPool([options])
        began = perf_counter()
        pool.give(0, Segment(0, Fraction(0), None, Fraction(10)), folder / "w.segment")
        while not any(event.kind == "begun" for event in pool.events(1.0)):
            pass
        taken.append(perf_counter() - began)
        pool.stop()
        pool.close()
    return statistics.median(taken)


def _join_seconds(options: Any, seconds: int) -> float:
    """Return how long the driver takes for a segment: the journal, and joining it."""
    from ltxfilter.jobs.driver import Job

    taken: list[float] = []

    class TimedJob(Job):
        def _join(self, number: int) -> None:
            began = perf_counter()
            super()._join(number)
            self._journal.note("joined", segment_joined=number)
            taken.append(perf_counter() - began)

    with TimedJob(options) as job:
        job.go()
    assert len(taken) == seconds // 10
    return statistics.median(taken)


def measure_ray() -> dict[str, float]:
    """Measure what Ray adds: its start, a call, and how fast files are fetched."""
    import ray

    from ltxfilter.jobs.ray_cluster.cluster import Cluster
    from ltxfilter.jobs.ray_cluster.transfers import PART_BYTES

    class Answering:
        def answer(self, size: int) -> bytes:
            return bytes(size)

    began = perf_counter()
    cluster = Cluster("auto")
    started = perf_counter() - began
    try:
        began = perf_counter()
        actor = ray.remote(Answering).options(num_cpus=1).remote()
        ray.get(actor.answer.remote(0))
        up = perf_counter() - began
        taken = []
        for size, times in ((0, 300), (PART_BYTES, 20)):
            began = perf_counter()
            for _ in range(times):
                ray.get(actor.answer.remote(size))
            taken.append((perf_counter() - began) / times)
    finally:
        cluster.leave()
    return {"start": started, "actor": up, "call": taken[0], "fetched": PART_BYTES / taken[1]}


def costs_of(measured: Mapping[str, Any]) -> dict[str, Costs]:
    """Return the costs of each case."""
    local = Costs(**measured["worker"])
    ltx = replace(local, work=LTX_SECONDS * (OUTPUT_RATE - SOURCE_RATE))
    found = {"local": local, "local, LTX": ltx}
    if ray := measured.get("ray"):
        added = {"pool": ray["start"], "start": local.start + ray["actor"], "call": ray["call"]}
        found["ray"] = replace(local, **added)
        found["ray, fetched"] = replace(local, **added, fetched=ray["fetched"])
        found["ray, LTX"] = replace(ltx, **added)
    return found


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw makespan, efficiency and what waits on the disk over the number of workers."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = NAME
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    cases = list(dict.fromkeys(row["case"] for row in rows if "first" not in row["case"]))
    for color, case in enumerate(cases):
        for seconds, style in ((20, "-"), (10, ":")):
            own = [row for row in rows if (row["case"], row["segment_s"]) == (case, seconds)]
            x = [row["workers"] for row in own]
            look = {"color": f"C{color}", "linestyle": style, "label": f"{case}, {seconds} s"}
            for axis, key in zip(axes, ("makespan_s", "efficiency", "waiting_mb"), strict=True):
                axis.plot(x, [row[key] for row in own], **look)
        own = [row for row in rows if (row["case"], row["segment_s"]) == (case, 20)]
        axes[0].plot(
            [row["workers"] for row in own],
            [row["ideal_s"] for row in own],
            color=f"C{color}",
            linewidth=0.5,
        )
    titles = ("makespan (thin: ideal), s", "ideal / makespan", "segments that wait on disk, MB")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xscale="log", xlabel="workers", title=title)
        axis.grid(visible=True, which="both", alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize="x-small")
    figure.suptitle("Two hours of film, 24 to 60 frames per second: planned from measured costs")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure if asked, simulate, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--no-ray", action="store_true", help="measure nothing of Ray")
    parser.add_argument("--size", default="640x360", help="of the film that is measured")
    given = parser.parse_args()
    known = RESULTS / f"{NAME}.json"
    if given.measure or not known.exists():
        measured: dict[str, Any] = {"size": given.size, "worker": measure(given.size)}
        if not given.no_ray:
            measured["ray"] = measure_ray()
    else:
        measured = json.loads(known.read_text())["measured"]
    print(json.dumps(measured, indent=1))
    costs = costs_of(measured)
    rows = list(scenarios(costs))
    some = (1, 4, 16, 64, 256, 1000)
    print(table([row for row in rows if row["workers"] in some and row["segment_s"] == 20]))
    write(NAME, rows, measured=measured, costs={name: asdict(cost) for name, cost in costs.items()})
    plot(rows, RESULTS / f"{NAME}.svg")


if __name__ == "__main__":
    main()
