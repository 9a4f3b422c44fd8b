"""Name the videos of a folder that training has seen: python -m training.check_overlap FOLDER.

A video is named if its bytes are those of a clip in footage.csv, or if a frame of it looks like a
frame of such a clip. The exit code is 1 if any is named.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from training.perceptual_hash import bits_apart, perceptual_hash

LIST = Path(__file__).with_name("footage.csv")
ALIKE = 10  # bits of 64 by which hashes of one picture, scaled and re-encoded, may differ
FLAT = 3.0  # standard deviation of 8-bit luma below which a frame shows nothing to compare


@dataclass(frozen=True, slots=True)
class Clip:
    """What tells a video again."""

    name: str
    sha256: str
    hashes: tuple[int, ...]

    def found_in(self, listed: list[Clip]) -> str:
        """Return which listed clip this one is and how that was told, or an empty text."""
        for clip in listed:
            if clip.sha256 == self.sha256:
                return f"{clip.name} (the same bytes)"
        apart = [
            (bits_apart(mine, other), clip.name)
            for clip in listed
            for mine in self.hashes
            for other in clip.hashes
        ]
        bits, name = min(apart, default=(ALIKE + 1, ""))
        return f"{name} ({bits} bits of 64 apart)" if bits <= ALIKE else ""


def main() -> int:
    """Check the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="every file in it and below it is looked at")
    parser.add_argument("--list", type=Path, default=LIST, help="the clips of the training")
    options = parser.parse_args()
    listed = read_list(options.list)
    checked = seen = 0
    for clip in videos(options.folder):
        checked += 1
        found = clip.found_in(listed)
        seen += bool(found)
        if found:
            print(f"{clip.name}: {found}")
    print(f"{checked} videos checked against {len(listed)} clips, {seen} of them seen in training")
    return 1 if seen else 0


def read_list(path: Path) -> list[Clip]:
    """Return the clips of a table with the columns of footage.csv."""
    with path.open(newline="") as file:
        return [
            Clip(row["name"], row["sha256"], tuple(int(each, 16) for each in row["phash"].split()))
            for row in csv.DictReader(file)
        ]


def videos(folder: Path) -> Iterator[Clip]:
    """Yield every video in and below a folder, in order of names; other files are passed over."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            hashes = frame_hashes(path)
        except (av.FFmpegError, IndexError):  # not a media file; one without pictures
            continue
        name = path.relative_to(folder).as_posix()
        yield Clip(name, hashlib.sha256(path.read_bytes()).hexdigest(), hashes)


def frame_hashes(path: Path) -> tuple[int, ...]:
    """Return the hashes of the frames at a quarter, half and three quarters of a video.

    Frames of one grey, which would look like those of any video, are left out.

    Raises:
        av.FFmpegError: if the file cannot be read.
        IndexError: if it has no video stream.
    """
    with av.open(path) as container:
        count = sum(1 for _ in container.decode(container.streams.video[0]))
    wanted = {count * quarter // 4 for quarter in (1, 2, 3)}
    hashes = []
    with av.open(path) as container:
        for at, frame in enumerate(container.decode(container.streams.video[0])):
            if at in wanted:
                luma = frame.to_ndarray(format="gray")
                if np.std(luma) >= FLAT:
                    hashes.append(perceptual_hash(luma))
    return tuple(hashes)


if __name__ == "__main__":
    raise SystemExit(main())
