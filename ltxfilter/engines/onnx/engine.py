"""The engine `onnx`: a published network makes the frames between, through ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.util import find_spec
from itertools import groupby
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.blend import cross_fade
from ltxfilter.engines.onnx.rgb import Rgb, RgbConverter
from ltxfilter.engines.onnx.tiles import Tiling
from ltxfilter.errors import EngineError, EngineUnavailableError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.onnx.network import Network

log = logging.getLogger("ltxfilter.engines")

Middle = Callable[[Rgb, Rgb], Rgb]

LARGEST = 1 << 22  # pixels of a picture that goes through the network whole, unless told
USUAL_TILE = 1024  # pixels along each side of the tiles of larger ones
NETWORK_BYTES = 1000  # that a network is taken to hold per pixel; RIFE 3 holds about 500
RGB_BYTES = 12  # per pixel of a picture
HALVINGS = 4  # of the time, at most, by networks that only make the middle
CLOSE = Fraction(1, 64)  # of an interval: a picture so near to a time is taken for it
QUICK, PATIENCE = 0.05, 3.0  # seconds of a first picture, between which a second one is timed
SLOTS = 4  # of one call of `draw`: their pictures are held until the last is made

OPTIONS = (
    EngineOption(
        "model", "", "The network is read from this file; if empty, from the one of --onnx-model."
    ),
    EngineOption(
        "provider",
        "auto",
        "The network runs on this execution provider of ONNX Runtime; auto takes the fastest that "
        "is installed, or the CPU.",
        ("auto", "cpu", "cuda", "tensorrt", "directml", "coreml", "openvino"),
    ),
    EngineOption(
        "tile",
        0,
        "Pictures go through the network in tiles with sides of so many pixels; 0 takes them "
        f"whole up to {LARGEST >> 20} Mi pixels, and then tiles of {USUAL_TILE}.",
        low=0,
        high=16384,
    ),
    EngineOption(
        "overlap", 64, "Tiles share so many pixels, and are blended there.", low=0, high=1024
    ),
    EngineOption(
        "batch",
        1,
        "So many tiles or pictures go through the network at once, where it takes several.",
        low=1,
        high=64,
    ),
    EngineOption(
        "halvings",
        HALVINGS,
        "A network that only makes the middle of two pictures is used so many times to come near "
        "another time.",
        low=1,
        high=8,
    ),
    EngineOption(
        "range",
        "file",
        "The network takes values from 0 to 1 (unit), 0 to 255 (byte) or -1 to 1 (signed); file "
        "asks its metadata, and is unit without any.",
        ("file", "unit", "byte", "signed"),
        expert=True,
    ),
    EngineOption(
        "order",
        "file",
        "The network's channels are red, green, blue (rgb) or the reverse (bgr); file asks its "
        "metadata, and is rgb without any.",
        ("file", "rgb", "bgr"),
        expert=True,
    ),
    EngineOption(
        "multiple",
        0,
        "Pictures are padded to sides that are multiples of this; 0 asks the file's metadata, or "
        "tries 32, 64, 128 and 256.",
        low=0,
        high=1024,
        expert=True,
    ),
)


class Onnx(Engine):
    """Lets a network make pictures, in the stream's own depth, matrix, range and siting."""

    name: ClassVar[str] = "onnx"
    summary: ClassVar[str] = "a two-frame network as an ONNX file, such as RIFE (--onnx-model)"
    options: ClassVar[tuple[EngineOption, ...]] = OPTIONS
    uses_models: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("onnx_model",)
    takes_files: ClassVar[Mapping[str, str]] = {"onnx_model": ""}

    moves_keyframes: ClassVar[bool] = True  # as RIFE, FILM and most others do

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        self._options = {option.name: option.default for option in OPTIONS} | options
        self._models = models or ModelOptions()
        self._network: Network | None = None  # None: not open
        self._seconds: float | None = None  # that one picture takes; None: not known
        self._warned = False  # of values that are not finite

    @property
    def needed_files(self) -> tuple[str, ...]:
        """Nothing more where the option `model` names the file."""
        return () if self._options["model"] else self.files

    @property
    def missing_files(self) -> tuple[str, ...]:
        """The network, where nobody names one."""
        return () if self._models.onnx_model else self.needed_files

    @property
    def used_files(self) -> frozenset[str]:
        """The network, unless the option `model` names it."""
        return frozenset(self.needed_files)

    @classmethod
    def unavailable(cls) -> str | None:
        """Return what to install if ONNX Runtime is missing."""
        if find_spec("onnxruntime") is None:
            return (
                'ONNX Runtime is missing: pip install "ltxfilter[onnx]", or onnxruntime-gpu, '
                "onnxruntime-directml or onnxruntime-openvino for a GPU"
            )
        return None

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Load the network; ask for pairs."""
        if reason := self.unavailable():
            raise EngineUnavailableError(f"engine onnx: {reason}")
        path = self._options["model"] or self._models.onnx_model
        if not path:
            raise EngineUnavailableError(
                "engine onnx: no network: give --onnx-model FILE.onnx, or LTXFILTER_ONNX_MODEL"
            )
        self.close()
        self._converter = RgbConverter(video)
        self._network = self._load(path, threads)
        self._tiling = self._choose_tiling(self._network)
        pixels = self._converter.width * self._converter.height
        tile = self._tiling.rows * self._tiling.columns * self._network.batch
        self._seconds = self._trial()
        held = 2 + SLOTS * (1 if self._network.form.timed else self._options["halvings"])
        weights = 3 * Path(path).stat().st_size
        return WindowShape(
            slots=SLOTS,
            work_bytes=weights + NETWORK_BYTES * tile,
            model_bytes=weights,
            draw_bytes=RGB_BYTES * pixels * (held + 3),
        )

    @property
    def seconds_per_picture(self) -> float | None:
        """What a grey picture took when it was opened; the network works as hard for any other."""
        return self._seconds

    def _trial(self) -> float | None:
        """Return the seconds of one picture, the second one where the first may be a slow start."""
        grey = np.full((3, self._converter.height, self._converter.width), 0.5, np.float32)
        taken = None
        for _ in range(2):
            begin = perf_counter()
            try:
                self._make(grey, grey, [0.5])
            except EngineError:  # the run finds the same, and says what becomes of it
                return None
            taken = perf_counter() - begin
            if not QUICK < taken < PATIENCE:
                break
        return taken

    def _load(self, path: str, threads: int) -> Network:
        from ltxfilter.engines.onnx.network import Network, NetworkSettings

        chosen = self._options
        return Network(
            path,
            NetworkSettings(
                provider=chosen["provider"],
                device=self._models.device,
                threads=threads,
                range="" if chosen["range"] == "file" else chosen["range"],
                order="" if chosen["order"] == "file" else chosen["order"],
                multiple=chosen["multiple"],
                batch=chosen["batch"],
            ),
        )

    def _choose_tiling(self, network: Network) -> Tiling:
        """Return the tiles of a picture: those that were asked for, fixed, or one of it all."""
        height, width = self._converter.height, self._converter.width
        tile = self._options["tile"]
        if not tile and height * width > LARGEST:
            tile = USUAL_TILE
        fixed = network.form.size
        rows, columns = (
            size or up_to(min(tile or side, side), network.multiple)
            for size, side in zip(fixed, (height, width), strict=True)
        )
        overlap = min(self._options["overlap"], rows // 2, columns // 2)
        return Tiling(height, width, rows, columns, overlap)

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield the network's picture of each slot; no planes where it is not finite."""
        for left, slots in groupby(window.to_draw(), lambda slot: slot.left):
            ends = window.keyframes[left], window.keyframes[left + 1]
            taus = [slot.tau for slot in slots]
            for tau, picture in zip(taus, self._pictures(ends, taus), strict=True):
                yield self._drawn(ends, tau, picture)

    def _pictures(self, ends: tuple[Frame, Frame], taus: Sequence[Fraction]) -> Iterator[Rgb]:
        left, right = (self._converter.to_rgb(end.planes) for end in ends)
        if not self._opened.form.timed:
            middle = Halving(left, right, lambda a, b: self._make(a, b, [0.5])[0])
            for tau in taus:
                yield middle.near(tau, self._options["halvings"])
            return
        size = max(self._opened.batch, 1)
        for begin in range(0, len(taus), size):
            yield from self._make(left, right, [float(tau) for tau in taus[begin : begin + size]])

    def _make(self, left: Rgb, right: Rgb, times: Sequence[float]) -> list[Rgb]:
        """Return the pictures between two at some times, in tiles."""
        tiling = self._tiling
        corners = tiling.corners()
        tiles = [(tiling.cut(left, corner), tiling.cut(right, corner)) for corner in corners]
        every = [tau for tau in times for _ in corners]
        made = self._opened.between(tiles * len(times), every)
        count = len(corners)
        return [tiling.join(made[k : k + count]) for k in range(0, len(made), count)]

    def _drawn(self, ends: tuple[Frame, Frame], tau: Fraction, picture: Rgb) -> Drawn:
        if not np.isfinite(picture).all():
            self._warn_of_nan(ends[0].time)
            return Drawn(())
        number = self._converter.alpha
        alpha = None
        if number is not None:
            alpha = cross_fade(ends[0].planes[number], ends[1].planes[number], float(tau))
        return Drawn(self._converter.to_planes(picture, alpha))

    def _warn_of_nan(self, time: Fraction) -> None:
        """Say once that a picture cannot be shown. time: seconds, of the keyframe before it."""
        if not self._warned:
            self._warned = True
            name = Path(self._options["model"] or self._models.onnx_model or "").name
            log.warning(
                "engine onnx: %s makes NaN or infinite values after %.3f s; such pictures are "
                "not used",
                name,
                float(time),
            )

    @property
    def _opened(self) -> Network:
        """The network, which an open engine has."""
        assert self._network is not None
        return self._network

    def cancel(self) -> None:
        """End the network's run that is under way."""
        if self._network is not None:
            self._network.cancel()

    def close(self) -> None:
        """Release the network."""
        self._network, self._warned = None, False


class Halving:
    """Moments between two pictures, by a network that only makes the one in their middle."""

    def __init__(self, left: Rgb, right: Rgb, middle: Middle) -> None:
        """Begin with the pictures at 0 and at 1. middle: makes the picture between two."""
        self._middle = middle
        self._known = {Fraction(0): left, Fraction(1): right}

    def near(self, tau: Fraction, most: int) -> Rgb:
        """Return the picture at `tau` (0..1), or the nearest that `most` halvings come to."""
        low, high = Fraction(0), Fraction(1)
        for _ in range(most):
            half = (low + high) / 2
            if half not in self._known:
                self._known[half] = self._middle(self._known[low], self._known[high])
            if abs(tau - half) <= CLOSE:
                return self._known[half]
            low, high = (half, high) if tau > half else (low, half)
        return self._known[low if tau - low < high - tau else high]


def up_to(size: int, multiple: int) -> int:
    """Return the least multiple that is at least `size`."""
    return ceil(size / multiple) * multiple
