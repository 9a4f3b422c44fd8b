"""The options of the engine `flow`, and what its presets stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ltxfilter.errors import OptionError
from ltxfilter.options import EngineOption

PRESETS = ("fast", "balanced", "best")
PRESET_VALUES = {  # option: its value in each of the presets
    "fine": (0, 0, 1),
    "step": (8, 8, 8),
    "rounds": (1, 2, 2),
    "coarse_step": (8, 8, 4),
    "coarse_rounds": (1, 1, 2),
    "steps": (3, 3, 3),
    "neighbours": (1, 2, 3),
    "near": (0, 1, 0),
    "polish": (0, 1, 1),
    "align": (0, 1, 1),
    "fuse": (0, 8, 10),
}
ALLOWED = {"scale": (0, 1, 2, 4, 8), "step": (4, 8), "coarse_step": (4, 8)}
PRESET = -1  # the value of an option that leaves it to the preset
BY_SIZE = -1  # the value of `finest` that leaves it to the size of the video


def _expert(name: str, sentence: str, high: int) -> EngineOption:
    """Return a whole number from -1, which leaves it to the preset, to `high`."""
    return EngineOption(
        name,
        PRESET,
        f"{sentence} -1 leaves it to the preset.",
        low=PRESET,
        high=high,
        expert=True,
    )


OPTIONS = (
    EngineOption(
        "preset",
        "balanced",
        "fast, balanced and best spend more and more time on finding motion; best takes about "
        "three times as long as fast.",
        PRESETS,
    ),
    EngineOption(
        "curved",
        True,
        "Motion follows the acceleration over four frames; if 0, everything moves in straight "
        "lines between two frames.",
    ),
    EngineOption(
        "lookahead",
        1,
        "This many frames after the pair are read to find its acceleration; 0 shortens the delay "
        "of live video by one frame.",
        low=0,
        high=1,
    ),
    EngineOption(
        "still", True, "Static parts of the picture, such as burned-in text, are protected."
    ),
    EngineOption(
        "device",
        "cpu",
        "The motion is found and the pictures are made on the CPU (cpu), or on the first CUDA "
        "device (cuda) with the same result.",
        ("cpu", "cuda"),
    ),
    EngineOption(
        "scale",
        0,
        "One sample of the picture that motion is found in covers 1, 2, 4 or 8 pixels along each "
        "axis; 0 chooses by the size of the video.",
        low=0,
        high=8,
        expert=True,
    ),
    _expert("fine", "If 1, videos of up to 720p carry motion on cells of half the size.", 1),
    EngineOption(
        "finest",
        BY_SIZE,
        "Motion is searched on this level last: 0 is the picture that it is found in, 1 half its "
        "size, 2 a quarter; -1 chooses by the size of the video.",
        low=BY_SIZE,
        high=2,
        expert=True,
    ),
    _expert("step", "On level 0, patches of 8x8 samples lie 4 or 8 samples apart.", 8),
    _expert("rounds", "On level 0, patches try the motion of their neighbours this often.", 4),
    _expert("coarse_step", "On level 1, patches of 8x8 samples lie 4 or 8 samples apart.", 8),
    _expert("coarse_rounds", "On the other levels, patches try their neighbours this often.", 4),
    _expert("steps", "A patch takes at most this many Gauss-Newton steps at a time.", 16),
    _expert("neighbours", "Cells try the motion of other cells in this many passes.", 3),
    _expert("near", "If 1, adjacent cells are among those; if 0, only cells 4 cells away.", 1),
    _expert("polish", "A second search of level 0 takes this many Gauss-Newton steps.", 8),
    _expert("align", "Both frames are aligned where they meet, in this many steps.", 8),
    _expert(
        "fuse",
        "Up to this percentage of a picture, where motion is most uncertain, is mixed from several "
        "motions by a small network.",
        100,
    ),
    EngineOption(
        "prior",
        True,
        "The search starts from the motion of the pair before.",
        expert=True,
    ),
)


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option, those of the preset filled in. Raises OptionError."""
    values = {option.name: option.default for option in OPTIONS} | dict(given)
    number = PRESETS.index(values["preset"])
    for name, by_preset in PRESET_VALUES.items():
        if values[name] == PRESET:
            values[name] = by_preset[number]
    for name, allowed in ALLOWED.items():
        if values[name] not in allowed:
            listed = ", ".join(map(str, allowed))
            raise OptionError(f"option {name}={values[name]}: not one of {listed}")
    return values
