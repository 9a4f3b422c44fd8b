"""The files of a comparison, in a folder; each appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ltxfilter.compare.comparison import ComparedFrame
from ltxfilter.compare.pictures.video import PanelsVideo
from ltxfilter.compare.request import CompareOptions
from ltxfilter.compare.results import table
from ltxfilter.compare.results.contact_sheet import contact_sheet
from ltxfilter.compare.results.page import comparison_page
from ltxfilter.compare.worst import WorstFrame
from ltxfilter.errors import OutputError
from ltxfilter.media.base import Source
from ltxfilter.media.output_file import OutputFile
from ltxfilter.media.output_name import RunFile, refuse_shared
from ltxfilter.media.stills.still import still_of_rgb
from ltxfilter.pipeline.run_files import model_files_of

PAGE, JSON = "index.html", "comparison.json"
TEXT, TABLE, FRAMES = "table.txt", "table.csv", "frames.csv"
SHEET, VIDEO = "worst-frames.png", "side-by-side.mp4"
NAMES = (PAGE, JSON, TEXT, TABLE, FRAMES, SHEET, VIDEO)


def check_apart(options: CompareOptions) -> None:
    """Raise OutputError if a file would be written that the comparison reads."""
    assert options.folder is not None
    folder = Path(options.folder)
    written = [RunFile(str(folder / name), "the output") for name in NAMES]
    read = [RunFile(path, "an input") for path in (options.clip, *options.others)]
    read += [RunFile(path, "a model file") for path in model_files_of(options.models)]
    refuse_shared(written, read)


class Files:
    """Claims its files at once and completes them in the end. Use it in a `with` statement."""

    def __init__(
        self, folder: str, source: Source, names: Sequence[str], *, overwrite: bool
    ) -> None:
        """Claim the files. Raises OutputError if one may not be written.

        source: of the true frames. names: of the true frames and of all candidates.
        """
        self._folder = Path(folder)
        self._names = names
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: is no folder: {error.strerror or error}") from error
        rate = source.info.rate
        assert rate is not None
        self._files: dict[str, OutputFile] = {}  # those that are not complete, by name
        with ExitStack() as claiming:
            claiming.callback(self._discard)
            for name in (each for each in NAMES if each != VIDEO):
                self._files[name] = OutputFile(str(self._folder / name), overwrite)
            video = str(self._folder / VIDEO)
            self._video = claiming.enter_context(
                PanelsVideo(video, source.name, source.info, len(names), rate, overwrite=overwrite)
            )
            self._open = claiming.pop_all()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def show(self, compared: ComparedFrame, labels: Sequence[str]) -> None:
        """Add a frame to the video. labels: one for each panel. Raises OutputError."""
        attempts = (compared.attempts.get(name) for name in self._names[1:])
        pictures = [attempt.planes if attempt else None for attempt in attempts]
        self._video.write([compared.frame.planes, *pictures], labels)

    def finish(self, found: table.Comparisons, worst: Sequence[WorstFrame]) -> None:
        """Complete all files. Raises OutputError."""
        self._video.finish()
        self._write(TEXT, [table.as_text(found).encode()])
        self._write(TABLE, [table.as_csv(found).encode()])
        self._write(FRAMES, table.frames_as_csv(found))
        self._write(JSON, table.as_json(found))
        if worst:
            self._write(SHEET, [still_of_rgb(contact_sheet(worst)).data])
        self._write(PAGE, [comparison_page(found, worst).encode()])

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        self._files[name].write_all(pieces)
        self._files.pop(name).complete()

    def _discard(self) -> None:
        """Leave nothing of the files that were not completed."""
        for file in self._files.values():
            file.discard()
