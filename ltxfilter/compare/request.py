"""What is asked of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions

LARGEST_STEP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What `ltxfilter compare` is asked to do."""

    clip: str
    """The clip with the true frames."""

    engines: tuple[str, ...] = ()
    """Specs, as --engine takes them."""

    others: tuple[str, ...] = ()
    """Files of other tools, frame by frame as the clip."""

    step: int = 2
    """Every so many frames one is shown to the engines; 1 where there are results only."""

    most: int | None = None
    """Frames of the clip to read; None reads all."""

    skip_end: int = 0
    """Intervals at the end that are not scored."""

    worst: int = 6
    """How many of the worst frames are shown."""

    folder: str | None = None
    """Where files go; None writes none."""

    overwrite: bool = False
    """Whether existing files are replaced."""

    ffmpeg: str | None = None
    """An ffmpeg with libvmaf; None looks for one."""

    models: ModelOptions = field(default_factory=ModelOptions)
    """Files for engines."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared. Raises OptionError."""
        names = [*self.engines, *self.others]
        for name in names:
            if names.count(name) > 1:
                raise OptionError(f"{name} is named twice; name each engine and file once")
        if not names:
            raise OptionError("nothing to compare: name engines, or files with --vs")
        if not 1 <= self.step <= LARGEST_STEP:
            raise OptionError(f"--step {self.step}: write a whole number from 2 to {LARGEST_STEP}")
        if self.engines and self.step < 2:
            raise OptionError("--step 1: engines would have no frame to draw; write 2 or more")
