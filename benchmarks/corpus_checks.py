"""What has to hold of a converted file: pure functions of what ffmpeg said of both files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

from benchmarks.corpus_media import Heard, Shown

SUMMARY = re.compile(r"in (\d+), out (\d+): (\d+) passed through, (\d+) interpolated, (\d+) rep")
STALE_TAGS = re.compile(  # of the old file, untrue of any other
    r"major_brand|minor_version|compatible_brands|encoder|vendor_id|duration|bps.*|number_of_.*"
    r"|_statistics_.*|handler_name|hasvideo|hasaudio|.*datarate|.*codecid|.*size|framerate|stereo"
)
SYNC = Fraction(1, 50)  # seconds that sound may move against pictures
STEP = Fraction(1, 500)  # seconds that containers with a coarse clock round by


@dataclass(frozen=True, slots=True)
class Counted:
    """The closing line of a run."""

    frames_in: int
    frames_out: int
    passed: int
    interpolated: int
    repeated: int

    @classmethod
    def read(cls, log: str) -> Counted | None:
        """Return the counts in the messages of a run; None if it never came to them."""
        found = SUMMARY.search(log)
        return cls(*map(int, found.groups())) if found else None


def failed_checks(source: Heard, output: Heard, log: str, *, exact: bool = True) -> list[str]:
    """Return what does not hold of an output, each beginning with the name of its check.

    exact: False does not ask for identical pictures.
    """
    came, went = source.moving(), output.moving()
    counted = Counted.read(log)
    if counted is None or came is None or went is None:
        return ["frames: no closing line or no frames"]
    before, after = source.shown[came.index], output.shown[went.index]
    found = [
        *frames(before, after, counted, log),
        *(originals(before, after, counted, log) if exact else ()),
        *duration(before, after),
        *offset(source, output),
        *streams(source, output, log),
        *tags(source, output, log),
        *playable(source, output),
    ]
    if source.chapters != output.chapters and "chapter" not in log:
        found.append(f"chapters: {source.chapters} became {output.chapters}")
    return found


def frames(
    before: Sequence[Shown], after: Sequence[Shown], counted: Counted, log: str
) -> list[str]:
    """Check that every frame was read and that the counts are those of the files."""
    found = []
    times = {frame.time for frame in before}  # of pictures with one time, all but one are dropped
    expected = {len(before), len(times)} if "did not advance" in log else {len(before)}
    if counted.frames_in not in expected and "ends early" not in log:
        found.append(f"frames in: {counted.frames_in}, ffmpeg finds {len(before)}")
    if counted.frames_out != len(after):
        found.append(f"frames out: {counted.frames_out} said, {len(after)} written")
    return found


def originals(
    before: Sequence[Shown], after: Sequence[Shown], counted: Counted, log: str
) -> list[str]:
    """Check that all frames that passed through are found in the output, in order."""
    if "deinterlac" in log:
        return []  # the line that says so is what is promised
    kept = in_order([frame.md5 for frame in before], [frame.md5 for frame in after])
    if kept >= counted.passed:
        return []
    return [f"originals: {kept} of {counted.passed} passed through are identical"]


def in_order(before: Sequence[str], after: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(after) + 1)
    for item in before:
        diagonal = 0
        for place, other in enumerate(after, 1):
            above = row[place]
            row[place] = diagonal + 1 if item == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def duration(before: Sequence[Shown], after: Sequence[Shown]) -> list[str]:
    """Check that the output lasts as long, up to one source interval."""
    came, went = lasting(before), lasting(after)
    allowed = max(interval(before), interval(after)) + STEP
    if after[-1].duration < interval(after) / 2:  # the container does not tell the last one's
        allowed = max(allowed, before[-1].duration)
    if abs(came - went) <= allowed:
        return []
    return [f"duration: {float(came):.3f} s became {float(went):.3f} s"]


def interval(shown: Sequence[Shown]) -> Fraction:
    """Return the usual time between frames, in seconds; the frame's own duration for one."""
    times = sorted(frame.time for frame in shown)
    steps = [b - a for a, b in pairwise(times)]
    return Fraction(median(steps)) if steps else shown[0].duration


def lasting(shown: Sequence[Shown]) -> Fraction:
    """Return the seconds from the first frame to the end of the last.

    That lasts as usual where its own duration is missing or under half of it.
    """
    first, last = (pick(shown, key=lambda frame: frame.time) for pick in (min, max))
    usual = interval(shown)
    return last.time - first.time + (usual if last.duration < usual / 2 else last.duration)


def offset(source: Heard, output: Heard) -> list[str]:
    """Check that sound stays where it was against the pictures.

    Runs of samples that both files have are compared; where there are none, the first times are.
    What an encoder puts before the sound is cut in one container and played in another.
    """
    moved = [_between(source.start(kind), output.start(kind)) for kind in ("video", "audio")]
    if moved[0] is None or moved[1] is None:
        return []
    came, went = _sounds(source), _sounds(output)
    if not came or not went:  # silence is the same everywhere
        return []
    if common := [went[md5] - came[md5] for md5 in came.keys() & went.keys()]:
        moved[1] = Fraction(median(common))
    late = moved[1] - moved[0]
    return [f"audio offset: {float(late):+.3f} s"] if abs(late) > SYNC else []


def _between(first: Fraction | None, second: Fraction | None) -> Fraction | None:
    return None if first is None or second is None else second - first


def _sounds(heard: Heard) -> dict[str, Fraction]:
    """Return the time of each run of samples of the first audio that is heard but once."""
    audio = (s.index for s in heard.streams if s.kind == "audio" and heard.shown.get(s.index))
    items = heard.shown.get(next(audio, -1), [])
    often = Counter(item.md5 for item in items)
    return {item.md5: item.time for item in items if often[item.md5] == 1}


def streams(source: Heard, output: Heard, log: str) -> list[str]:
    """Check that every stream is in the output, or named where it is not."""
    came, went = kinds(source), kinds(output)
    found = []
    for kind, count in came.items():
        named = len(re.findall(rf"stream \d+ \({kind}", log))
        if "left out" in log and kind in ("data", "attachment"):
            named = max(named, len(re.findall(kind, log)))
        if kind == "data":
            named += written_anew(source, output)
        if went[kind] + named < count:
            found.append(f"streams: {count} {kind} became {went[kind]}, {named} named")
    return found


def written_anew(source: Heard, output: Heard) -> int:
    """Return how many data streams live on as a timecode or as the titles of chapters."""
    data = [stream for stream in source.streams if stream.kind == "data"]
    codes = sum("timecode" in stream.tags for stream in data)
    kept = "timecode" in output.tags or any("timecode" in s.tags for s in output.streams)
    titles = sum(stream.codec == "bin_data" for stream in data)
    return codes * kept + titles * (0 < source.chapters == output.chapters)


def kinds(heard: Heard) -> Counter[str]:
    """Return how many streams of each kind a file has; fonts and covers count as attachments."""
    covers = ("attachment" if stream.still else stream.kind for stream in heard.streams)
    return Counter(covers)


def tags(source: Heard, output: Heard, log: str) -> list[str]:
    """Check that every tag of the file is in the output or named."""
    kept = set(output.tags)
    for stream in output.streams:
        kept |= set(stream.tags)
    kept = {_without_language(key) for key in kept}
    asked = {_without_language(key) for key in source.tags}
    lost = [
        key
        for key in sorted(asked - kept)
        if not STALE_TAGS.fullmatch(key) and key not in log.lower()
    ]
    return [f"tags: {', '.join(lost)}"] if lost else []


def _without_language(key: str) -> str:
    """Return a tag's name without its language, which has two spellings: fra, fre."""
    return re.sub(r"-[a-z]{3}$", "", key)


def playable(source: Heard, output: Heard) -> list[str]:
    """Check that ffmpeg plays the output without a word that it does not say of the source."""
    known = {_kind_of(word) for word in source.words}
    new = [word for word in output.words if _kind_of(word) not in known]
    if output.status and not source.status:
        new.append(f"ffmpeg ended with {output.status}")
    return [f"playable: {'; '.join(new[:3])}"] if new else []


def _kind_of(word: str) -> str:
    """Return a complaint without its origin and numbers."""
    return re.sub(r"-?\d+(\.\d+)?", "N", re.sub(r"\[[^]]*\] *", "", word))
