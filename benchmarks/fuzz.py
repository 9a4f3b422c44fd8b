"""Give broken inputs and options to ltxfilter; an exception that is not one of ours is a finding.

    python -m benchmarks.fuzz --cases 10000 --seed 1
    python -m benchmarks.fuzz --seed 1 --case 4711      runs one case and shows its traceback

Cases run in other processes, which may crash or hang without ending the run. A crash of FFmpeg
that also happens without ltxfilter is counted separately. The files of failures stay in --keep.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.fuzz_cases import Case, make_seeds

ADDRESS_SPACE = 6 << 30  # bytes of a process that runs cases
WATCHDOG = 30.0  # seconds that a case may take
PASSED = ("done", "refused", "stopped")
DECODE = """
import sys, av
av.logging.set_level(None)
with av.open(sys.argv[1]) as container:
    for packet in container.demux():
        try: packet.decode()
        except (av.FFmpegError, ValueError): pass
"""


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended: one of PASSED, "finding", "crash", "hang", or "FFmpeg's crash"."""

    number: int
    outcome: str
    detail: str = ""
    kind: str = ""
    recipe: str = ""

    @property
    def passed(self) -> bool:
        """Return True if ltxfilter did nothing wrong."""
        return self.outcome in PASSED or self.outcome == "FFmpeg's crash"


class CaseProcess:
    """A process that runs cases by number, and is replaced when it crashes or hangs."""

    def __init__(self, command: Sequence[str], watchdog: float = WATCHDOG) -> None:
        self._command = command
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (as long as this lives)

    def run(self, number: int) -> Result:
        """Run one case."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        line = _line_within(process.stdout.fileno(), self._watchdog)
        if line is None:
            self._end()
            return Result(number, "hang", f"no end within {self._watchdog:g} s")
        if not line:
            code = process.wait()
            self._end()
            return Result(number, "crash", f"exit code {code}: {self._end_of_errors()}")
        return Result(**json.loads(line))

    def close(self) -> None:
        """End the process and start no other."""
        self._end()
        self._errors.close()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        return process

    def _end_of_errors(self) -> str:
        self._errors.seek(max(self._errors.seek(0, os.SEEK_END) - 2000, 0))
        return self._errors.read().decode(errors="replace")


def _line_within(fd: int, seconds: float) -> bytes | None:
    """Read a line; return None if none came within `seconds`, and b"" at the end."""
    deadline, line = monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        if not select.select([fd], [], [], max(deadline - monotonic(), 0))[0]:
            return None
        data = os.read(fd, 1 << 16)
        if not data:
            return b""
        line += data
    return line


def run_case(seed: int, number: int, seeds: Path, scratch: Path) -> Result:
    """Run one case in this process."""
    folder = scratch / str(number)
    folder.mkdir(parents=True)
    case = Case(seed, number, seeds, folder)
    threads = _our_threads()
    try:
        outcome, detail = case.run(), ""
        if left := _our_threads() - threads:
            outcome, detail = "finding", f"threads left: {left}"
    except BaseException:
        outcome, detail = "finding", traceback.format_exc()
    result = Result(number, outcome, detail, case.kind, case.recipe)
    if result.passed:
        shutil.rmtree(folder)
    return result


def _our_threads() -> set[str]:
    """Return the names of the threads that Python started; it calls those of libav dummies."""
    return {t.name for t in threading.enumerate() if not t.name.startswith("Dummy")}


def serve(seed: int, seeds: Path, scratch: Path) -> None:
    """Run the cases whose numbers come on standard input; answer each with a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        result = run_case(seed, int(line), seeds, scratch)
        fields = {name: getattr(result, name) for name in Result.__slots__}
        answers.write(json.dumps(fields) + "\n")
        answers.flush()


def fuzz(seed: int, numbers: Sequence[int], jobs: int, keep: Path) -> Iterator[Result]:
    """Run cases in `jobs` processes; yield how each ended. The files of failures stay in `keep`."""
    keep.mkdir(parents=True, exist_ok=True)
    seeds = make_seeds(keep / "seeds")
    command = [sys.executable, "-m", "benchmarks.fuzz", "--serve", "--seed", str(seed)]
    command += ["--keep", str(keep)]

    def run_share(share: Sequence[int]) -> list[Result]:
        cases = CaseProcess(command)
        try:
            return [_confirmed(cases.run(number), cases, keep) for number in share]
        finally:
            cases.close()

    shares = [numbers[at : at + 50] for at in range(0, len(numbers), 50)]
    with ThreadPoolExecutor(jobs) as pool:
        for results in pool.map(run_share, shares):
            yield from results
    if not any(path.name.isdigit() for path in keep.iterdir()):
        shutil.rmtree(seeds)


def _confirmed(result: Result, cases: CaseProcess, keep: Path) -> Result:
    """Repeat a hang, since the machine may be busy, and a crash, without ltxfilter."""
    if result.outcome not in ("hang", "crash"):
        return result
    folder = keep / str(result.number)
    inputs = sorted(folder.glob("in.*"))
    if result.outcome == "crash" and inputs and _crashes_alone(inputs[0]):
        return Result(result.number, "FFmpeg's crash", result.detail)
    shutil.rmtree(folder, ignore_errors=True)
    again = cases.run(result.number)
    return result if again.outcome == result.outcome else again


def _crashes_alone(path: Path) -> bool:
    """Return True if FFmpeg alone is killed by a signal when it decodes the file."""
    for _ in range(3):
        with_libav = subprocess.run(
            [sys.executable, "-c", DECODE, str(path)], capture_output=True, timeout=60
        )
        if with_libav.returncode < 0:
            return True
    return False


def main() -> int:
    """Run what the command line asks for; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case", type=int, help="run this one here and show what happens")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "ltxfilter-fuzz")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.seed, args.keep / "seeds", args.keep)
        return 0
    if args.case is not None:
        shutil.rmtree(args.keep / str(args.case), ignore_errors=True)
        print(run_case(args.seed, args.case, make_seeds(args.keep / "seeds"), args.keep))
        return 0
    numbers = range(args.first, args.first + args.cases)
    shutil.rmtree(args.keep, ignore_errors=True)
    failed, outcomes = 0, Counter[str]()
    for result in fuzz(args.seed, numbers, args.jobs, args.keep):
        outcomes[result.outcome] += 1
        if not result.passed:
            failed += 1
            print(f"case {result.number} ({result.kind}: {result.recipe}): {result.outcome}")
            print(f"    {result.detail.strip()}\n    files: {args.keep / str(result.number)}")
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    print(f"{len(numbers) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
