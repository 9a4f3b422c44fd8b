"""One flag of the command line, and what flags describe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Side(Enum):
    """What a flag describes."""

    INPUT = "Input"
    EITHER = "Input before -i, output after it"
    INTERPOLATE = "Interpolation"
    MODEL = "Models"
    OUTPUT = "Output"
    JOB = "Long jobs"
    GENERAL = "General"
    SHOW = "Information"
    ACCEPTED = "Accepted from ffmpeg's command lines, since it changes nothing"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag, written with one dash or two."""

    name: str
    metavar: str  # "" for a switch
    help: str
    side: Side
    aliases: tuple[str, ...] = ()
    group: str = ""  # flags of one group overwrite each other; "" is the name

    @property
    def key(self) -> str:
        """What its value is filed under."""
        return self.group or self.name

    @property
    def dashed(self) -> str:
        """How it is written: ffmpeg's own with one dash, ours with two."""
        ours = self.side in (Side.INTERPOLATE, Side.MODEL, Side.JOB) or self.name in (
            "help",
            "version",
            "deinterlace",
        )
        return "--" + self.name.replace("_", "-") if ours else "-" + self.name
