"""Broken inputs and options, each made of a seed and a number alone, and a run of each.

A case passes if it works or is refused with one of our errors, keeps to its memory, and leaves no
unfinished file under the final name.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from benchmarks.clips import ffmpeg_exe
from ltxfilter import engines
from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.parse import parse
from ltxfilter.errors import Interrupted, LtxFilterError
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run
from ltxfilter.values import MIB

MEMORY = 256 * MIB  # --memory of every run
SLACK = 64 * MIB  # what a run may take on top: the allocator, the decoder's first frame
LIMIT = 2.0  # seconds after which a run is asked to stop, as a user would
SYNTHETIC = "-f lavfi -i testsrc2=s=64x48:r=25:d=0.6 -f lavfi -i sine=d=0.6 -fflags +bitexact"
SEEDS = {  # file -> ffmpeg's output options
    "a.mp4": "-c:v libx264 -g 5 -pix_fmt yuv420p -c:a aac",
    "b.mp4": "-c:v libx264 -g 5 -pix_fmt yuv420p -c:a aac -movflags frag_keyframe+empty_moov",
    "c.mp4": "-c:v mpeg4 -c:a aac -movflags +faststart",
    "d.mov": "-c:v prores_ks -c:a pcm_s16le",
    "e.mkv": "-c:v libx264 -g 5 -pix_fmt yuv420p10le -c:a aac",
    "f.mkv": "-c:v ffv1 -c:a flac",
    "g.webm": "-c:v libvpx -deadline good -c:a libopus",
    "h.ts": "-c:v libx264 -g 5 -pix_fmt yuv420p -c:a aac",
    "i.ts": "-c:v mpeg2video -c:a mp2",
    "j.nut": "-c:v rawvideo -c:a pcm_s16le",
    "k.nut": "-c:v mpeg4 -c:a mp2",
    "l.avi": "-c:v mpeg4 -c:a mp2",
    "m.flv": "-c:v flv1 -c:a aac",
    "n.h264": "-map 0:v -c:v libx264 -g 5 -pix_fmt yuv420p",
    "o.y4m": "-map 0:v -pix_fmt yuv420p",
    "p.y4m": "-map 0:v -pix_fmt yuv422p10le -strict -1",
}
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100000)
FORMATS = ("gray", "yuv420p", "yuv422p10le", "rgb24", "nv12", "yuva444p", "gbrp", "pal8", "x", "")
TEXTS = (
    "", "0", "-1", "1", "2x", "50", "60000/1001", "1e9", "9" * 30, "1/0", "nan", "inf", "0.1", "::",
    "a=b", "=", "\\", "\0", "\u0661", "flow", "blend:x=1", "hold:", "auto", "source", "4G", "512M",
    "1T", "00:01:02.5", "1:2:3:4", "64x48", "99999x99999", "0x0", "yuv420p", "-", "pipe:9", "%d",
)  # fmt: skip


def make_seeds(folder: Path) -> Path:
    """Write the valid files of which cases are made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in SEEDS.items():
        words = ["-v", "error", "-nostdin", "-y", *SYNTHETIC.split()]
        words += ["-shortest", *options.split(), str(folder / name)]
        subprocess.run([ffmpeg_exe(), *words], check=True, timeout=60)
    return folder


class Case:
    """One broken input or command line, and a way to try it."""

    def __init__(self, seed: int, number: int, seeds: Path, folder: Path) -> None:
        self.random = random.Random(f"{seed}:{number}")
        self.seeds = seeds
        self.folder = folder  # for its files alone, empty
        self.kind = self.random.choice(
            ("container",) * 6 + ("pipe", "y4m", "raw") * 2 + ("words",) * 3
        )
        self.recipe = ""

    def run(self) -> str:
        """Try it; return "done", "refused" or "stopped". Any exception is a finding."""
        kinds: dict[str, Callable[[], str]] = {
            "container": self._container,
            "pipe": self._pipe,
            "y4m": self._y4m,
            "raw": self._raw,
            "words": self._words,
        }
        return kinds[self.kind]()

    def _container(self) -> str:
        path = self._mutated(self.random.choice([name for name in SEEDS if "y4m" not in name]))
        return self.convert(InputOptions(path=str(path), **self._trim()))

    def _pipe(self) -> str:
        path = self._mutated(self.random.choice(list(SEEDS)))
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        with _fed(pipe, path.read_bytes()):
            return self.convert(InputOptions(path=str(pipe), rate=Fraction(25)))

    def _y4m(self) -> str:
        name = self.random.choice([name for name in SEEDS if "y4m" in name])
        header, _, frames = (self.seeds / name).read_bytes().partition(b"\n")
        words = header.split(b" ")
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(words))
            value = str(self.random.choice(EXTREMES)).encode()
            words[at] = self.random.choice([b"", words[at][:1] + value, words[at] + value, value])
        path = self.folder / "in.y4m"
        path.write_bytes(b" ".join(words) + b"\n" + mutate(self.random, frames, 0.1))
        self.recipe += f"{name}: {b' '.join(words)!r}"
        return self.convert(InputOptions(path=str(path)))

    def _raw(self) -> str:
        path = self.folder / "in.yuv"
        path.write_bytes(self.random.randbytes(self.random.randrange(6000)))
        side = (1, 2, 3, 7, 16, 33, 64, 640, 9999, 99999)
        options = InputOptions(
            path=str(path),
            format="rawvideo",
            width=self.random.choice(side),
            height=self.random.choice(side),
            pix_fmt=self.random.choice(FORMATS),
            rate=self.random.choice([Fraction(25), Fraction(24000, 1001), Fraction(1, 7)]),
        )
        self.recipe += str(options)
        return self.convert(options)

    def _words(self) -> str:
        names = [flag.name for flag in FLAGS] + ["", "x", "c:a:0", "vf", "engin"]
        argv = []
        for _ in range(self.random.randint(0, 8)):
            if self.random.random() < 0.7:
                argv.append(self.random.choice(["-", "--"]) + self.random.choice(names))
            if self.random.random() < 0.7:
                argv.append(self._text())
        self.recipe += repr(argv)
        with _refusals() as refused:
            arguments = parse(argv)
            engines.build(arguments.options.engine)
        return "refused" if refused else "done"

    def _text(self) -> str:
        text = self.random.choice(TEXTS)
        while self.random.random() < 0.3:
            at = self.random.randrange(len(text) + 1)
            text = text[:at] + self.random.choice(TEXTS) + text[at:]
        return text

    def _trim(self) -> dict[str, Fraction]:
        if self.random.random() < 0.7:
            return {}
        return {"start": Fraction(self.random.randint(0, 40), 50), "duration": Fraction(1, 5)}

    def _mutated(self, name: str) -> Path:
        """Write a damaged copy of a seed."""
        path = self.folder / f"in{Path(name).suffix}"
        path.write_bytes(mutate(self.random, (self.seeds / name).read_bytes(), 0.5))
        self.recipe += name
        return path

    def convert(self, source: InputOptions) -> str:
        """Convert; check which files are left and how much memory was taken."""
        suffix = self.random.choice([".y4m", ".y4m", ".mkv", ".mp4"])
        out = self.folder / f"out{suffix}"
        encoder = {} if suffix == ".y4m" else {"codec": "mpeg4", "encoder": {"g": "5"}}
        options = Options(
            input=replace(source, threads=2),
            output=OutputOptions(path=str(out), **encoder),
            fps=self.random.choice(["auto", "50", "2x", "source", "60000/1001", "7"]),
            engine=self.random.choice(["hold", "blend", "blend", "flow:preset=fast"]),
            memory=MEMORY,
            threads=2,
        )
        before = _memory_reset()
        with _refusals() as refused:
            _run(options)
        grown = _memory_peak() - before
        if grown > MEMORY + SLACK:
            raise AssertionError(f"{grown // MIB} MiB for a budget of {MEMORY // MIB} MiB")
        left = sorted(path.name for path in self.folder.iterdir() if path.stem.startswith("out"))
        if refused and out.exists():
            raise AssertionError(f"failed ({refused[0]}) and left {left}")
        if not refused and left != [out.name]:
            raise AssertionError(f"worked and left {left}")
        stopped = refused and isinstance(refused[0], Interrupted)
        return "stopped" if stopped else "refused" if refused else "done"


def mutate(chance: random.Random, data: bytes, in_header: float) -> bytes:
    """Return `data` damaged in one to six places; in_header: how likely one is near an end."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        size = len(broken)
        near = min(size, 1500)
        at = chance.randrange(near) if chance.random() < in_header else chance.randrange(size)
        if chance.random() < in_header / 2:
            at = size - 1 - at % near
        length = min(chance.choice((1, 1, 4, 16, 200, 2000)), size - at)
        extreme = chance.choice(EXTREMES).to_bytes(4, "big")
        new = {
            "flip": bytes(byte ^ 1 << chance.randrange(8) for byte in broken[at : at + length]),
            "zero": bytes(length),
            "extreme": extreme[-min(length, 4) :],
            "noise": chance.randbytes(length),
            "cut": b"",
            "twice": bytes(broken[at : at + length]) * 2,
        }
        broken[at : at + length] = new[chance.choice(list(new))]
        if len(broken) < 100:
            break
    if chance.random() < 0.1:
        del broken[chance.randrange(len(broken)) :]
    return bytes(broken)


def _run(options: Options) -> None:
    """Convert, and ask for an early end after LIMIT."""
    run = Run(options)
    timer = threading.Timer(LIMIT, run.cancel)
    timer.start()
    try:
        with run:
            run.go()
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def _refusals() -> Iterator[list[LtxFilterError]]:
    """Collect errors of ours; all others are raised, as findings."""
    caught: list[LtxFilterError] = []
    try:
        yield caught
    except LtxFilterError as error:
        if not str(error):
            raise AssertionError(f"{type(error).__name__} says nothing") from error
        caught.append(error)


@contextmanager
def _fed(path: Path, data: bytes) -> Iterator[None]:
    """Write `data` into the named pipe at `path` from another thread."""

    def feed() -> None:
        with suppress(BrokenPipeError), path.open("wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:  # a pipe that was refused unopened has a writer that still waits for a reader
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        thread.join()


def _memory_reset() -> int:
    """Start a new measurement of the peak; return the bytes that are resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _memory_peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{key}:")]
    return int(line.split()[1]) << 10
