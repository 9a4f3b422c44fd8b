"""Real files: every file of some folders at twice its rate, judged by the ffmpeg program.

    python -m benchmarks.corpus FOLDER... [--ffmpeg EXE] [--jobs N] [--only TEXT] [--again]

Each file is converted twice by the command line, with the engine `hold`: to FFV1 in Matroska, where
every frame, time, stream and tag can be compared with the input's, and with all defaults to mp4, of
which ffmpeg must play every frame. Nothing is downloaded. The outcome of a file is one of

    ok        all checks hold
    refused   ltxfilter refused it, and ffmpeg finds no two frames in it either
    FAILED    anything else; the row names the checks

Where the refusal names a way out, that is taken and said in the row: another container for audio
that Matroska cannot hold, `--fps source` for a variable rate, -an for audio without its headers.

Prints a table, writes results/corpus.json and exits with 1 if any file failed. With --again only
files that failed are converted again; the rows of the others are those of the last results.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.clips import ffmpeg_exe
from benchmarks.corpus_checks import Counted, failed_checks
from benchmarks.corpus_media import Heard, hear
from benchmarks.record import RESULTS, table, write

Row = dict[str, Any]

TEXTS = {".md", ".txt", ".sh", ".py", ".json", ".csv", ".srt", ".y", ".log"}
LIMIT = 180.0  # seconds for each program
HOLDERS = re.compile(r"or write (\.\w+(?: or \.\w+)*)")  # of audio that Matroska cannot hold
BEST_HOLDERS = (".nut", ".mov", ".wmv", ".avi")
DAMAGED = "add -an if its audio is damaged"
WITHOUT_PADDING = {"bgr0": "gbrp", "rgb0": "gbrp"}  # the spare byte may hold anything
CONVERTED = {
    "webp_anim"
}  # which this ffmpeg decodes to RGB itself, with other roundings than swscale
LIKENESS = 30.0  # dB between such pictures and ours
VARIABLE = "--fps 2x needs a constant source rate"  # then every interval of the source is halved
WAY_OUT = re.compile(r"(?<!\w)-[a-z]|\.(mkv|mov|nut|avi|ts|wmv)\b", re.IGNORECASE)


def main() -> None:
    """Convert, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--ffmpeg", default=newest_ffmpeg(), help="the program that judges")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--only", default="", help="files whose name holds this text")
    parser.add_argument("--again", action="store_true", help="only files that failed last time")
    parser.add_argument("--name", default="corpus", help="of the results")
    asked = parser.parse_args()
    known = passed_before(asked.name) if asked.again else {}
    chosen = [item for item in files(asked.folders) if asked.only in item[0]]
    rows = [known[name] for name, _ in chosen if name in known]
    with ThreadPoolExecutor(asked.jobs) as pool:
        waiting = [item for item in chosen if item[0] not in known]
        tasks = [pool.submit(converted, asked.ffmpeg, item) for item in waiting]
        for task in as_completed(tasks):
            rows.append(row := task.result())
            print(f"{row['outcome']:8}{row['file']}  {'; '.join(row['checks'])}", flush=True)
            if row["outcome"] == "FAILED":
                print(*row["log"], sep="\n", flush=True)
    rows.sort(key=lambda row: row["file"])
    print(table(by_folder(rows)))
    print(write(asked.name, rows, ffmpeg=version(asked.ffmpeg), folders=by_folder(rows)))
    sys.exit(any(row["outcome"] == "FAILED" for row in rows))


def passed_before(name: str) -> dict[str, Row]:
    """Return the rows of the last results that did not fail, by file. Raises OSError."""
    rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return {row["file"]: row for row in rows if row["outcome"] != "FAILED"}


def newest_ffmpeg() -> str:
    """Return the ffmpeg of imageio-ffmpeg, which is newer than a system's, or the system's."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return ffmpeg_exe()
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def version(exe: str) -> str:
    """Return the first words of an ffmpeg."""
    done = subprocess.run([exe, "-version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])


def files(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """Yield every file that may be media, with its name from its folder on."""
    for folder in folders:
        root = folder.resolve()
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix.lower() not in TEXTS:
                yield str(path.relative_to(root.parent)), path


def converted(exe: str, item: tuple[str, Path]) -> Row:
    """Convert one file both ways; return its row."""
    name, path = item
    row: Row = {"file": name, "outcome": "FAILED", "checks": [], "fps": "2x"}
    row |= {"way": "", "in": 0, "out": 0, "passed": 0, "log": []}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _judge(exe, path, Path(folder), row)
        except subprocess.TimeoutExpired as error:
            row["checks"].append(f"time: over {error.timeout:.0f} s: {Path(error.cmd[0]).name}")
    if not row["checks"]:
        row["log"] = []
    row["seconds"] = round(time.perf_counter() - began, 1)
    if row["outcome"] != "refused":
        row["outcome"] = "FAILED" if row["checks"] else "ok"
    return row


def _judge(exe: str, path: Path, folder: Path, row: Row) -> None:
    target, words = folder / "out.mkv", ["-c:v", "ffv1", "--report", str(folder / "report.json")]
    status, log = ltxfilter(path, target, row["fps"], *words)
    if status and VARIABLE in log:
        row["fps"] = "source"
        status, log = ltxfilter(path, target, row["fps"], *words)
    if status and (holders := HOLDERS.search(log)):
        named = holders.group(1).split(" or ")
        row["way"] = next((suffix for suffix in BEST_HOLDERS if suffix in named), named[0])
        target = target.with_suffix(row["way"])
        status, log = ltxfilter(path, target, row["fps"], *words)
    if status and DAMAGED in log:
        row["way"] = "-an"
        status, log = ltxfilter(path, target, row["fps"], *words, "-an")
    row["log"] = [
        line for line in log.splitlines() if "took " not in line and "memory:" not in line
    ]
    if status:
        _refused(exe, path, status, row)
        return
    if not (folder / "report.json").exists():
        row["checks"].append("report: none was written")
    if counted := Counted.read(log):
        row |= {"in": counted.frames_in, "out": counted.frames_out, "passed": counted.passed}
    source, output = _both(exe, path, target, log)
    if row["way"] == "-an":
        source.streams = [stream for stream in source.streams if stream.kind != "audio"]
    moving = source.moving()
    exact = not moving or moving.codec not in CONVERTED
    row["checks"] += failed_checks(source, output, log, exact=exact)
    if not exact and (similar := likeness(exe, path, target)) < LIKENESS:
        row["checks"].append(f"originals: {similar:.1f} dB")
    row["checks"] += plays(exe, path, folder / "out.mp4", row)


def _refused(exe: str, path: Path, status: int, row: Row) -> None:
    """Say whether ffmpeg finds something to interpolate where ltxfilter refused."""
    source = hear(exe, path, LIMIT)
    moving = source.moving()
    count = len(source.shown[moving.index]) if moving else 0
    row["in"] = count
    if count < 2 and status > 0:
        row["outcome"] = "refused"
    else:
        row["checks"].append(f"refused: exit {status}, ffmpeg finds {count} frames")


def _both(exe: str, path: Path, target: Path, log: str) -> tuple[Heard, Heard]:
    """Decode both; the pictures of the input in the format of the output, and turned as those."""
    turned = "turned" in log
    source, output = hear(exe, path, LIMIT, rotate=turned), hear(exe, target, LIMIT)
    came, went = source.moving(), output.moving()
    if not came or not went or came.pix_fmt.replace("yuvj", "yuv") == went.pix_fmt:
        return source, output
    like = WITHOUT_PADDING.get(went.pix_fmt, "")
    if like:
        output = hear(exe, target, LIMIT, like)
    words = source.words
    source = hear(exe, path, LIMIT, like or went.pix_fmt, rotate=turned)
    source.words = words + source.words
    return source, output


def likeness(exe: str, path: Path, target: Path) -> float:
    """Return the PSNR, dB, of the frame of `path` that differs most from its copy in `target`.

    The copies are every second frame, as none is missing. Colours count by their alpha.
    """
    alike = "format=gbrap,premultiply=inplace=1,format=gbrp,settb=1/1000,setpts=N"
    graph = f"[0:v]{alike}[a];[1:v]select='not(mod(n,2))',{alike}[b];[a][b]psnr"
    command = [exe, "-hide_banner", "-nostdin", "-i", path, "-i", target]
    command += ["-filter_complex", graph, "-fps_mode", "passthrough", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
    found = re.search(rb"PSNR .* min:([\d.]+|inf)", done.stderr)
    return float(found.group(1)) if found else 0.0


def plays(exe: str, path: Path, target: Path, row: Row) -> list[str]:
    """Convert with all defaults to mp4; return what keeps ffmpeg from playing it."""
    status, log = ltxfilter(path, target, row["fps"], *(["-an"] if row["way"] == "-an" else []))
    if status:
        named = WAY_OUT.search(log.splitlines()[-1]) if log else None
        early = not target.exists() and Counted.read(log) is None
        return [] if named and early else [f"mp4: exit {status}: {log.splitlines()[-1:]}"]
    counted = Counted.read(log)
    output = hear(exe, target, LIMIT, rotate=True)
    moving = output.moving()
    found = len(output.shown[moving.index]) if moving else 0
    if counted is None or found != counted.frames_out:
        return [f"mp4: {found} frames play"]
    words = [word for word in output.words if "Video" in word or "h264" in word or "mov" in word]
    return [f"mp4: {words[0]}"] if words else []


def ltxfilter(path: Path, target: Path, fps: str, *words: str) -> tuple[int, str]:
    """Convert `path` to the rate `fps`; return exit code and messages."""
    command = [sys.executable, "-m", "ltxfilter", "-v", "info", "-y", "--engine", "hold"]
    command += ["--fps", fps, "-i", str(path), *words, str(target)]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
    log = done.stderr.decode(errors="replace").replace(str(path), path.name)
    return done.returncode, log.replace(f"{target.parent}/", "")


def by_folder(rows: list[Row]) -> list[Row]:
    """Return the outcomes per folder, and in all."""
    found = []
    names = {row["file"]: str(Path(row["file"]).parent) for row in rows}
    for folder in [*dict.fromkeys(names.values()), "all"]:
        chosen = [row for row in rows if folder in ("all", names[row["file"]])]
        count = Counter(row["outcome"] for row in chosen)
        found.append({
            "folder": folder,
            "files": len(chosen),
            "ok": count["ok"],
            "refused": count["refused"],
            "failed": count["FAILED"],
        })  # fmt: skip
    return found


if __name__ == "__main__":
    main()
