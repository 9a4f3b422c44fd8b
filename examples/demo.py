"""What `make demo` runs: render a short moving sample, or take a video, and double its rate."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLE = "testsrc2=size=640x360:rate=25:duration=4"
SOUND = "sine=frequency=440:duration=4"


def ffmpeg() -> str:
    """Return an ffmpeg to run: the machine's own, else the static one of imageio-ffmpeg."""
    found = shutil.which("ffmpeg")
    if found is None:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    return found


def render(path: Path) -> None:
    """Write four seconds of moving test picture with sound, 25 frames per second."""
    sources = ["-f", "lavfi", "-i", SAMPLE, "-f", "lavfi", "-i", SOUND]
    encoders = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([ffmpeg(), "-v", "error", "-y", *sources, *encoders, path], check=True)


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", dest="source", type=Path, help="a video; rendered if left out")
    parser.add_argument("output", nargs="?", type=Path, default=Path("demo.mp4"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, rate = asked.source, "source"  # "source": twice whatever the video's timeline is
        if source is None:
            source, rate = Path(folder) / "sample.mp4", "2x"
            render(source)
        words = ["-y", "-i", source, "--fps", rate, asked.output]
        code = subprocess.run([sys.executable, "-m", "ltxfilter", *words], check=False).returncode
    if code == 0:
        print(f"wrote {asked.output}: twice the frame rate, everything else kept; play it")
    return code


if __name__ == "__main__":
    sys.exit(main())
