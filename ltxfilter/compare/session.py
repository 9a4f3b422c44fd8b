"""One comparison from its options to its files: `compare_clip`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from shlex import quote
from time import perf_counter

from ltxfilter.compare.candidates import Candidate, EngineCandidate, FileCandidate
from ltxfilter.compare.comparison import ComparedFrame, Comparison
from ltxfilter.compare.measures import HIGHEST_PSNR, sharpness
from ltxfilter.compare.request import CompareOptions
from ltxfilter.compare.results.files import Files, check_apart
from ltxfilter.compare.results.table import Comparisons
from ltxfilter.compare.scores import Scores
from ltxfilter.compare.vmaf import VmafMeter, find_ffmpeg
from ltxfilter.compare.worst import WorstFrames
from ltxfilter.errors import InputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import Source
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions
from ltxfilter.pipeline.progress import Progress
from ltxfilter.refusals import refusals_named

REPORT_SECONDS = 0.1  # between calls of on_progress
TRUE = "true"  # what the frames are called that were hidden from the engines
PQ, HLG = 16, 18  # transfer characteristics of H.273
SPACING_SECONDS = 1  # between worst frames that are shown

OnProgress = Callable[[Progress], None]


@refusals_named()
def compare_clip(options: CompareOptions, on_progress: OnProgress | None = None) -> Comparisons:
    """Compare engines and files of other tools with the true frames of a clip.

    on_progress: called with the running counts, at most ten times a second. Raises LtxFilterError.
    """
    with ExitStack() as stack:
        reading = InputOptions(path=options.clip, autorotate=True)
        source = stack.enter_context(closing(open_source(reading)))
        info = _constant(source)
        candidates = _opened(options, source.name, info, stack)
        session = _Session(options, source, candidates, stack)
        comparison = stack.enter_context(
            Comparison(candidates, options.step, skip_end=options.skip_end)
        )
        for compared in comparison.frames(islice(source.frames(), options.most)):
            session.take(compared)
            session.report(on_progress)
        return session.finish()


def _constant(source: Source) -> VideoInfo:
    """Return what the frames have in common. Raises InputError for a variable frame rate."""
    if source.info.rate is None:
        raise InputError(
            f"{source.name}: has a variable frame rate, so that a frame that is left out does not "
            "lie midway between its neighbours. Make it constant first: "
            f"ffmpeg -i {quote(source.name)} -vf fps=30 -c:v ffv1 constant.mkv"
        )
    return source.info


def _opened(
    options: CompareOptions, clip: str, info: VideoInfo, stack: ExitStack
) -> list[Candidate]:
    """Open all candidates; `stack` closes them. Raises LtxFilterError."""
    found: list[Candidate] = []
    for path, name in zip(options.others, short_names(options.others), strict=True):
        found.append(stack.enter_context(closing(FileCandidate(path, name, info, clip))))
    for spec in options.engines:
        engine = EngineCandidate(spec, info, options.step, options.models)
        found.append(stack.enter_context(closing(engine)))
    return found


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the paths without their folders, unless two files then had one name."""
    names = [Path(path).name for path in paths]
    return [
        name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)
    ]


class _Session:
    """What becomes of the compared frames: scores, VMAF, pictures and files."""

    def __init__(
        self,
        options: CompareOptions,
        source: Source,
        candidates: Sequence[Candidate],
        stack: ExitStack,
    ) -> None:
        """Claim the files and start libvmaf; `stack` ends both. Raises OutputError."""
        self._options, self._source, self._info = options, source, source.info
        self._true = TRUE if options.step > 1 else short_names([source.name])[0]
        self._scores = {each.name: Scores(each.name) for each in candidates}
        self._worst = WorstFrames(self._info, self._true, options.worst, self._spacing())
        self._files: Files | None = None
        if options.folder is not None:
            names = [self._true, *self._scores]
            check_apart(options)
            self._files = Files(options.folder, source, names, overwrite=options.overwrite)
            stack.enter_context(self._files)
        self._meters = self._started_meters(stack)
        self._late = 0  # frames that are not where a constant rate puts them
        self._first: Fraction | None = None  # seconds
        self._ends: dict[str, int] = {}  # frames of files that are shorter than the clip
        self._count = 0  # frames compared
        self._began = self._reported = perf_counter()

    def _spacing(self) -> int:
        """Return how many frames lie between worst frames: a second, less of a short clip."""
        rate, duration = self._info.rate, self._source.duration
        assert rate is not None
        frames = max(round(rate * SPACING_SECONDS), 1)
        if duration is not None and self._options.worst:
            frames = min(frames, int(rate * duration / (2 * self._options.worst)))
        return max(frames, 1)

    def _started_meters(self, stack: ExitStack) -> Mapping[str, VmafMeter]:
        exe, missing = find_ffmpeg(self._options.ffmpeg)
        if exe is None:
            for scores in self._scores.values():
                scores.vmaf_missing = missing
            return {}
        return {
            name: stack.enter_context(closing(VmafMeter(exe, self._info))) for name in self._scores
        }

    def take(self, compared: ComparedFrame) -> None:
        """Score a frame and show it. Raises OutputError."""
        self._count += 1
        self._watch(compared)
        if compared.scored:
            self._score(compared)
        if self._files is not None:
            self._files.show(compared, self._labels(compared))

    def _score(self, compared: ComparedFrame) -> None:
        around = None
        if self._options.step > 1 and compared.around is not None:
            before, after = map(sharpness, compared.around)
            around = before, after
        for name, scores in self._scores.items():
            scores.add(compared, self._info.depth, around)
            if name in self._meters:
                planes = compared.attempts[name].planes
                self._meters[name].add(planes[0], compared.frame.planes[0])
        psnr = {name: scores.latest("psnr") for name, scores in self._scores.items()}
        self._worst.offer(compared, psnr)

    def _watch(self, compared: ComparedFrame) -> None:
        """Notice frames whose time is irregular, and files that are shorter than the clip."""
        rate = self._info.rate
        assert rate is not None
        if self._first is None:
            self._first = compared.time
        off = compared.time - self._first - compared.index / rate
        self._late += abs(off) * rate > Fraction(1, 2)
        if compared.index % self._options.step or self._options.step == 1:
            for name in self._scores.keys() - compared.attempts.keys():
                self._ends.setdefault(name, compared.index)

    def _labels(self, compared: ComparedFrame) -> list[str]:
        labels = [f"{self._true}, {float(compared.time):.3f} s"]
        for name, scores in self._scores.items():
            score = f" {scores.latest('psnr'):.1f} dB" if compared.scored else ""
            labels.append(f"{name}{score}")
        return labels

    def report(self, on_progress: OnProgress | None) -> None:
        """Tell how far it is, from time to time."""
        now = perf_counter()
        if on_progress is None or now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        rate, duration = self._info.rate, self._source.duration
        assert rate is not None
        if self._options.most is not None:
            limit = self._options.most / rate
            duration = limit if duration is None else min(duration, limit)
        on_progress(
            Progress(
                passed=self._count,
                out_time=self._count / rate,
                duration=duration,
                rate=rate,
                elapsed=now - self._began,
            )
        )

    def finish(self) -> Comparisons:
        """Wait for libvmaf and complete the files. Raises LtxFilterError."""
        for name, scores in self._scores.items():
            if meter := self._meters.get(name):
                values = meter.finish()
                scores.set_vmaf(values, meter.missing)
        found = Comparisons(
            self._source.name,
            self._about(),
            list(self._scores.values()),
            list(self._notes()),
            is_hdr=self._info.color.transfer in (PQ, HLG),
        )
        if not found.frames:
            raise InputError(self._nothing())
        if self._files is not None:
            self._files.finish(found, self._worst.frames())
        return found

    def _about(self) -> dict[str, object]:
        info = self._info
        return {
            "true": self._true,
            "step": self._options.step,
            "skip_end": self._options.skip_end,
            "width": info.width,
            "height": info.height,
            "pix_fmt": info.pix_fmt,
            "depth": info.depth,
            "rate": str(info.rate),
            "frames_read": self._count,
        }

    def _notes(self) -> Iterable[str]:
        if self._late:
            yield (
                f"{self._late} of {self._count} frames of {self._source.name} are not shown at the "
                "times of a constant rate; they count as if they were."
            )
        for name, count in self._ends.items():
            yield f"{name} has {count} frames; what follows is not scored for anybody."
        if self._options.step == 1:
            yield from self._equals()
        yield from self._repeats()

    def _equals(self) -> Iterator[str]:
        for scores in self._scores.values():
            if scores.equal:
                yield (
                    f"{scores.name}: {scores.equal} of {len(scores.index)} frames are equal to "
                    f"those of {self._true}, which counts as {HIGHEST_PSNR} dB."
                )

    def _repeats(self) -> Iterator[str]:
        for scores in self._scores.values():
            if scores.repeated and not scores.name.startswith("hold"):
                yield (
                    f"{scores.name}: {scores.repeated} of {len(scores.index)} scored frames are "
                    "source frames shown again, as at scene cuts."
                )

    def _nothing(self) -> str:
        step = self._options.step
        if step == 1:
            return f"{self._source.name}: has no frame in common with the others"
        least = (1 + self._options.skip_end) * step + 1
        return (
            f"{self._source.name}: has {self._count} frames; {least} are needed to leave one out "
            "and draw it back"
        )
