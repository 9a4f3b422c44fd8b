"""What happened, as JSON: written window by window, valid however the run ends."""

from __future__ import annotations

import json
import logging
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ltxfilter import __version__
from ltxfilter.errors import Interrupted, OptionError, OutputError
from ltxfilter.frame import Frame, Made
from ltxfilter.media.output_file import OutputFile
from ltxfilter.options import Options
from ltxfilter.pipeline.progress import Progress, busy
from ltxfilter.windows.cuts import Note
from ltxfilter.windows.window import Window

if TYPE_CHECKING:
    from ltxfilter.pipeline.record.least_certain import UncertainFrame
    from ltxfilter.pipeline.record.signs import Sign

log = logging.getLogger("ltxfilter.report")

FORMAT, VERSION = "ltxfilter report", 2  # docs/report.md; raised where readers must know
OURS = b'{\n "format": "ltxfilter report"'  # how such a file begins
PACKAGES = ("av", "numpy", "opencv-python-headless", "torch", "ltx-core", "ltx-pipelines")
OWN = (
    "rate",
    "duration",
    "stages",
    "memory",
    "newest",
    "worked",
)  # fields of Progress that stand elsewhere


@dataclass(frozen=True, slots=True)
class ReportedWindow:
    """What became of a window, or of a part of its slots; holds no frames."""

    window: int  # its number
    outline: Mapping[str, Any]  # as written
    frames: tuple[Mapping[str, Any], ...]  # likewise, one for each slot
    doubts: tuple[UncertainFrame, ...] = ()  # those among them that are least certain
    signs: tuple[Sign, ...] = ()  # of pictures that are easily interpolated wrongly

    @classmethod
    def of(
        cls,
        window: Window,
        frames: Sequence[Frame],
        doubts: tuple[UncertainFrame, ...] = (),
        signs: tuple[Sign, ...] = (),
    ) -> ReportedWindow:
        """Describe what became of `window`: its slots, with the output frame of each."""
        intervals = window.intervals[window.first : window.last]
        outline: dict[str, Any] = {
            "keyframes": [_seconds(key.time) for key in window.keyframes],
            "first": window.first,
            "last": window.last,
            "reset": window.reset,
            "intervals": [interval.join.value for interval in intervals],
        }
        if missing := [_seconds(time) for interval in intervals for time in interval.missing]:
            outline["missing"] = missing
        slots = zip(window.slots, frames, strict=True)
        found = tuple(_frame(slot.index, out) for slot, out in slots)
        return cls(window.index, outline, found, doubts, signs)


def _frame(index: int, frame: Frame) -> dict[str, Any]:
    found: dict[str, Any] = {
        "index": index,
        "time": _seconds(frame.time),
        "made": frame.made.value,
    }
    if frame.made is not Made.INTERPOLATED or frame.credit is None:
        return found
    credit = frame.credit
    choice = credit.choice
    found["engine"] = choice.engine if choice else credit.engine
    found["psnr_db"] = None if frame.psnr_db is None else round(frame.psnr_db, 2)
    if choice:
        found["difficulty"] = round(choice.difficulty, 3)
    if choice and choice.tried:
        found["gate"] = {
            "tried": choice.tried,
            "share": round(choice.share, 3),
            "failed": choice.failed,
        }
        if choice.reason:
            found["gate"]["reason"] = choice.reason
    if credit.rejected:
        found["rejected"] = credit.rejected
    return found


@dataclass(slots=True)
class _Entry:
    """A window that is being put together from its parts."""

    part: ReportedWindow
    frames: list[Mapping[str, Any]] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)


class Record(Protocol):
    """Takes what happens in a run, in this order: `begin`, `add` for each window, `finish`."""

    pictures: int
    """How many pictures of frames that are least certain it wants of a run; 0 for none."""

    def begin(self, head: Mapping[str, Any]) -> None:
        """Take what is known before work starts."""
        ...

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take a window, or a part of its slots. notes: what was seen meanwhile."""
        ...

    def finish(self, progress: Progress, error: BaseException | None = None) -> None:
        """Take the final counts. error: what ended the run early. Raises OutputError."""
        ...

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished."""
        ...


class Report:
    """Writes `NAME.part` as windows end; `finish` makes it a whole file under its name.

    What cannot be written any more is warned of once; the run goes on, and `finish` raises.
    """

    pictures = 0

    def __init__(self, path: str, options: Options) -> None:
        """Claim the file. Raises OutputError if it may not be written, OptionError."""
        check_name(path)
        self._file = OutputFile(path, options.output.overwrite, ours=OURS)
        self._entry: _Entry | None = None
        self._notes: list[Note] = []
        self._count = 0  # windows written
        self._error: OutputError | None = None
        self._ended = False

    def begin(self, head: Mapping[str, Any]) -> None:
        """Write what is known before work starts."""
        top = {"format": FORMAT, "version": VERSION, "versions": versions()}
        text = json.dumps({**top, **head}, indent=1, default=str)
        self._write(text.removesuffix("\n}") + ',\n "windows": [')

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take the next part; whole windows are written. notes: what was seen meanwhile."""
        if self._ended:  # by a thread that gave up on this one
            return
        if self._entry is not None and self._entry.part.window != part.window:
            self._flush()
        self._notes += notes
        if self._entry is None:
            self._entry = _Entry(part)
        self._entry.frames += part.frames
        self._entry.signs += part.signs

    def finish(self, progress: Progress, error: BaseException | None = None) -> None:
        """Write the end and give the file its name. error: what ended the run early.

        Raises OutputError if anything could not be written.
        """
        if self._ended:
            return
        self._ended = True
        self._flush()
        tail = {"ended": ending_of(error), "statistics": statistics(progress)}
        if error is not None:
            tail["error"] = str(error) or type(error).__name__
        self._write("\n ],\n" + json.dumps(tail, indent=1, default=str)[2:] + "\n")
        if self._error is not None:
            raise self._error
        self._file.complete()

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished."""
        if not self._ended:
            self._file.discard()

    def _flush(self) -> None:
        entry, self._entry = self._entry, None
        if entry is None:
            return
        notes, self._notes = self._notes, []
        window = {
            "index": entry.part.window,
            **entry.part.outline,
            "frames": entry.frames,
            **summarized(entry.frames),
        }
        if notes:
            window["noticed"] = [{"time": _seconds(note.time), "kind": note.kind} for note in notes]
        if entry.signs:
            window["signs"] = [asdict(sign) for sign in entry.signs]
        self._write((",\n  " if self._count else "\n  ") + json.dumps(window))
        self._count += 1

    def _write(self, text: str) -> None:
        if self._error is not None:
            return
        try:
            self._file.write_all([text.encode()])
        except (OutputError, BrokenPipeError) as error:
            self._error = OutputError(f"the report is not complete: {error}")
            log.warning("%s", self._error)
            with suppress(OutputError, BrokenPipeError):
                self._file.close()


def summarized(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a window's engines with how many frames each drew, and its estimates' range."""
    drawn = [frame for frame in frames if frame["made"] == Made.INTERPOLATED.value]
    if not drawn:
        return {}
    found: dict[str, Any] = {"engines": dict(Counter(frame["engine"] for frame in drawn))}
    known = [frame["psnr_db"] for frame in drawn if frame["psnr_db"] is not None]
    if known:
        found["psnr_db"] = {"min": min(known), "mean": round(sum(known) / len(known), 2)}
    return found


def versions() -> dict[str, str]:
    """Return the versions of what draws, those of packages that are missing left out."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms, for reports only

    found = {"ltxfilter": __version__, "python": platform.python_version()}
    found["platform"] = platform.platform()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def statistics(progress: Progress) -> dict[str, Any]:
    """Return the final counts by the names that `Progress` gives them."""
    found = {
        item.name: _plain(getattr(progress, item.name))
        for item in fields(progress)
        if item.name not in OWN
    }
    found["frames_out"] = progress.frames_out
    if progress.stages or progress.worked:
        found["busy"] = {name: round(seconds, 3) for name, seconds in busy(progress).items()}
    return found


def open_report(options: Options) -> Record | None:
    """Open the report that `options` name, as JSON; None if they name none.

    `view.records.open_record` opens pages too. Raises OptionError, OutputError.
    """
    if not options.report:
        return None
    if len(options.report) > 1 or is_page(options.report[0]):
        raise OptionError(
            f"--report {options.report[-1]}: one JSON file is all that is written here"
        )
    return Report(options.report[0], options)


def is_page(path: str) -> bool:
    """Return True if a report of this name is a page for people, False if it is JSON."""
    return Path(path).suffix.lower() in (".html", ".htm")


def plain(value: Any) -> Any:
    """Return a dataclass, or a value in one, as JSON knows it; fractions become text."""
    return json.loads(json.dumps(asdict(value), default=str))


def check_name(path: str) -> None:
    """Raise OptionError for a name that is no file's, or that promises something else."""
    if path in ("", "-") or path.startswith("pipe:"):
        raise OptionError(f"--report {path}: name a file")


def ending_of(error: BaseException | None) -> str:
    """Return how a run ended: complete, stopped or failed. error: what ended it early."""
    if error is None:
        return "complete"
    early = (Interrupted, KeyboardInterrupt, BrokenPipeError)
    return "stopped" if isinstance(error, early) else "failed"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return _seconds(value) if isinstance(value, (Fraction, float)) else value


def _seconds(time: Fraction | float) -> float:
    return round(float(time), 6)
