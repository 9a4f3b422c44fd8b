"""The contract of an engine: windows in, pictures for the slots between their keyframes out.

This file is the whole contract. A runner asks an engine for nothing that is not declared here,
and fetches nothing by `getattr`. `tests/engines/test_contract.py` is the suite that engines join:
it runs for every engine that is installed and needs no model files.

How an engine is used, in this order::

    engine = build("name:key=value", models)     # cheap: no heavy import, no allocation
    reason = type(engine).unavailable()          # None, or what is missing and how to get it
    shape = engine.open(video, rate, threads)    # loads what it needs; says which windows it wants
    for window in windows:                       # serially, in order
        motion = engine.prepare(window)          # what `draw` needs beyond the frames
        pictures = engine.draw(window, motion)   # may run in another thread, and later
        for slot, drawn in zip(window.to_draw(), pictures, strict=True):
            ...
    engine.close()

Rules:

- **State.** `prepare` may carry state from window to window. It drops that state at every interval
  that says `reset` and at every interval that does not interpolate. `draw` is pure: it may run
  concurrently with itself and with `prepare`, in any order, and returns the same samples each time,
  so noise is seeded from an option and the slot's time and never from the order of calls.
- **Frames.** Planes are read-only. An engine returns new planes in the stream's own format: the
  same shapes and dtypes, codes within the format's depth; those of `scaling.scaled_video` where its
  `scale` is not 1. It never sees files, pipes or pts.
- **Cancelling.** `cancel` may come at any time from any thread. Nothing but `close` and `open` is
  called afterwards; `open` begins anew.
- **Errors.** `open`, `prepare` and `draw` raise `EngineError`, with the engine's name first. A
  single picture that cannot be made is `Drawn(())`: the runner then asks the `fallbacks`.
- **Memory.** `WindowShape` states what the engine holds, in bytes; the run is refused before work
  starts if that does not fit.
- **Other packages** register an engine through the entry point group `ltxfilter.engines`, as
  `name = "module:Class"`. It then shows up in `--engine`, `ltxfilter engines` and
  `ltxfilter doctor`. `examples/engine_package` is a whole one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar

from ltxfilter.frame import Plane, Planes, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Slot, Window, WindowShape


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of its partners an engine that owns several took a picture from, and why."""

    engine: str  # name of the engine whose picture was taken, wholly or in most blocks
    difficulty: float  # of the interval, 0 (nothing moves) to 1
    tried: str | None = None  # name of the engine whose picture was compared with it, if any
    share: float = 0.0  # of the picture that comes from `tried`, 0 to 1
    failed: bool = False  # True if `tried` made nothing that could be compared
    reason: str | None = None  # why nothing is taken from `tried`


@dataclass(frozen=True, slots=True)
class Drawn:
    """One interpolated picture, and how good the engine expects it to be."""

    planes: Planes  # in the stream's format; empty if the engine could not make the picture
    psnr_db: float | None = None  # estimated PSNR of luma in dB; None if the engine has no estimate
    choice: Choice | None = None  # set by an engine that owns partners


class Engine(ABC):
    """Makes the frames between keyframes. The module's docstring says how it is used."""

    name: ClassVar[str]
    """What a user writes after `--engine`: lower-case letters, digits and dashes."""

    summary: ClassVar[str]
    """One line for `ltxfilter engines`, without a full stop."""

    options: ClassVar[tuple[EngineOption, ...]] = ()
    """The options that `__init__` takes by name, each with a default."""

    uses_models: ClassVar[bool] = False
    """True if `__init__` also takes `models`, a `ModelOptions`."""

    files: ClassVar[tuple[str, ...]] = ()
    """Fields of `ModelOptions` that it needs with its default options, if `uses_models` is True."""

    takes_files: ClassVar[Mapping[str, str]] = {}
    """Fields of `ModelOptions` that it can use -> with which option; "" where it always does."""

    takes_device_planes: bool = False
    """True if keyframes may lie on a device (`device_plane.DevicePlane`); else they come to the
    host. Its pictures may then lie there, too."""

    can_be_wrong: ClassVar[bool] = True
    """False if no picture of it can be implausible, so that none has to be checked."""

    moves_keyframes: ClassVar[bool] = False
    """True if its pictures are samples of the keyframes, moved and mixed, as those of `flow` are.

    That they look like the keyframes then proves nothing, and `auto` weights them accordingly."""

    lookahead_option: ClassVar[str | None] = None
    """The option that, set to 0, makes the engine do without later frames; None if none does."""

    scale: Fraction = Fraction(1)
    """How many times as wide and high as a keyframe its pictures are; see `enlarge`."""

    live_shapes: ClassVar[Mapping[str, WindowShape]] = {}
    """For live video: spec -> the windows it asks for, where those do not depend on the video."""

    def __init__(self, **options: Any) -> None:  # noqa: B027  (not every engine has options)
        """Take the values of `options`. Cheap: heavy imports and allocations belong in `open`."""

    @property
    def seed(self) -> int | None:
        """What its noise is generated from; None if it uses none."""
        return None

    @property
    def partners(self) -> tuple[Engine, ...]:
        """The engines that it owns and takes pictures from; empty if it uses no other engine."""
        return ()

    @property
    def needed_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it needs with its own options; `files` by default."""
        return self.files

    @property
    def missing_files(self) -> tuple[str, ...]:
        """Those of `needed_files` that nobody names and that are not found."""
        return ()

    @property
    def also_missing(self) -> tuple[str, ...]:
        """Fields of `ModelOptions` that it lacks beside `missing_files`, as its files are.

        A new prompt takes a text encoder, for example.
        """
        return ()

    @property
    def seconds_per_picture(self) -> float | None:
        """Seconds of work per interpolated picture on this device, as `open` has measured them.

        None where nobody has to wait for it. The run says so before it starts where that comes to
        many times the video's length.
        """
        return None

    @property
    def used_files(self) -> frozenset[str]:
        """The fields of `ModelOptions` that it uses with its own options.

        By default all of them where `uses_models` is True, and else none.
        """
        return (
            frozenset(each.name for each in fields(ModelOptions))
            if self.uses_models
            else frozenset()
        )

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Names of the engines that make a picture in its place, in the order they are tried."""
        return ("flow", "blend")

    @classmethod
    def unavailable(cls) -> str | None:
        """Return why it cannot run on this machine and what to install; None if it can."""
        return None

    def enlarge(self, factor: Fraction) -> None:  # noqa: B027  (most engines cannot)
        """Make pictures `factor` times as wide and high, if it can; called before `open`.

        An engine that can sets `scale`. Where it stays 1, the run makes pictures larger, as it does
        with source frames. Raises EngineUnavailableError if the files do not serve for that.
        """

    @abstractmethod
    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Get ready for frames of `video`; return the windows that it wants and their cost.

        rate: output frames per second; None where every source interval is halved.
        threads: how many `draw` calls may run at once. Opening again begins anew.
        Raises EngineError.
        """

    def prepare(self, window: Window) -> Any:  # noqa: ARG002
        """Return what `draw` needs to know of the window beyond its frames.

        Called once per window, serially and in order. Raises EngineError.
        """
        return None

    @abstractmethod
    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:
        """Yield one `Drawn` per slot of `window.to_draw()`, in order.

        motion: what `prepare` returned. The window may have only some of the slots it had then.
        Raises EngineError.
        """

    def flow_of(self, motion: Any, slot: Slot) -> Plane | None:  # noqa: ARG002
        """Return the motion that the picture of a slot follows, for people to look at; pure.

        [h, w, 2] pixels from the keyframe before to the one after, x then y, on any grid over the
        picture. None if it is not known. motion: what `prepare` returned. Raises EngineError.
        """
        return None

    def cancel(self) -> None:  # noqa: B027  (most pictures take less than a second)
        """Make `prepare` and `draw`, those under way too, raise Stopped soon.

        Safe in signal handlers and other threads, more than once, and after `close`. An engine
        whose pictures take seconds looks at this between two steps of its work.
        """

    def close(self) -> None:  # noqa: B027  (most engines hold nothing)
        """Release everything; calling it twice does nothing."""
