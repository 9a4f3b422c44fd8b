"""Whether two checkouts make the same frames: a hash of every clip, engine and path of each.

    python -m benchmarks.identical --clips DIR --write FILE.json           in the one checkout
    python -m benchmarks.identical --clips DIR --compare FILE.json         in the other

Runs the command line as a user does. Pipes are compared as bytes (y4m), files as decoded frames
with their times (ffmpeg's framemd5) of every stream. With --tiny FOLDER, which holds the tiny
random checkpoint that `tests/support/tiny_ltx.py` builds, the LTX engines get half a second.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.clips import ffmpeg_exe
from ltxfilter.engines import build

ENGINES = ("flow", "flow:preset=fast", "flow:preset=best", "blend")
LTX_ENGINES = (
    "ltx-temporal",
    "ltx-keyframe",
    "ltx-motion",
    "ltx-motion:source=dit:steps=2",
    "auto",
)
LTX_SIZE = "128:96"  # pixels; random weights say nothing, but have to say it twice
FILES = {  # FFmpeg's muxer -> suffix
    "matroska": ".mkv",
    "mp4": ".mp4",
}


def main() -> None:
    """Write or compare the hashes; the exit code is 1 if any differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--tiny", type=Path, help="folder of the tiny LTX models")
    parser.add_argument("--seconds", default="2", help="of each clip")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--compare", type=Path)
    asked = parser.parse_args()
    found = {}
    for name, value in hashes(asked.clips, asked.seconds, asked.tiny):
        print(f"{value[:16]}  {name}", flush=True)
        found[name] = value
    if asked.write:
        asked.write.write_text(json.dumps(found, indent=1))
    if asked.compare:
        known = json.loads(asked.compare.read_text())
        apart = [name for name in known.keys() | found.keys() if known.get(name) != found.get(name)]
        print(f"{len(found)} hashes, {len(apart)} differ", *sorted(apart), sep="\n  ")
        sys.exit(bool(apart))


def hashes(clips: Path, seconds: str, tiny: Path | None) -> Iterator[tuple[str, str]]:
    """Yield a name and a hash for every clip, engine and way out."""
    for clip in sorted(path for path in clips.iterdir() if path.suffix != ".md"):
        for engine in ENGINES:
            words = ["-t", seconds, "-i", str(clip), "--engine", engine, "--fps", "60"]
            yield f"{clip.name} {engine} y4m", piped(words)
        words = ["-t", seconds, "-i", str(clip), "--engine", "flow", "--fps", "50"]
        for muxer, suffix in FILES.items():
            yield f"{clip.name} flow {muxer}", filed(words, suffix)
        if tiny is not None:
            for engine in LTX_ENGINES:
                yield f"{clip.name} {engine} y4m", small(clip, engine, tiny)


def piped(words: list[str], stdin: bytes | None = None) -> str:
    """Return the hash of the y4m that a command line writes, or of its refusal."""
    done = subprocess.run(
        [sys.executable, "-m", "ltxfilter", *words], input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        return f"exit {done.returncode}"
    return hashlib.sha256(done.stdout).hexdigest()


def filed(words: list[str], suffix: str) -> str:
    """Return the hash of the frames, times included, of the file that a command line writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{suffix}"
        encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
        command = [sys.executable, "-m", "ltxfilter", *words, *encoder, str(path)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            return f"exit {done.returncode}"
        listed = subprocess.run(
            [ffmpeg_exe(), "-v", "error", "-i", path, "-map", "0", "-f", "framemd5", "-"],
            capture_output=True,
            check=False,
        )
        return hashlib.sha256(listed.stdout).hexdigest()


def small(clip: Path, engine: str, tiny: Path) -> str:
    """Return the hash of half a second of a clip, scaled down, drawn by an LTX engine."""
    scaled = subprocess.run(
        [ffmpeg_exe(), "-v", "error", "-t", "0.5", "-i", clip, "-vf", f"scale={LTX_SIZE}",
         "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    models = [
        "--models", tiny, "--device", "cpu",
        *(["--context", tiny / "context.safetensors"] if needs_context(engine) else []),
    ]  # fmt: skip
    return piped(["--engine", engine, "--fps", "60", *map(str, models)], scaled.stdout)


def needs_context(engine: str) -> bool:
    """Return True for an LTX engine that reads an encoded prompt."""
    return "context" in build(engine).needed_files


if __name__ == "__main__":
    main()
