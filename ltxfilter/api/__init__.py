"""What a program calls: `convert` for files, `Interpolator` and `interpolate` for frames in memory.

Every option is a named parameter with a type, and also accepts the text of the command line. What
is wrong raises an `LtxFilterError`; a wrong option raises `OptionError`, which names the
option, what was given and what is allowed. `options.py` documents each option's unit and range.
"""

from ltxfilter.api.conversion import convert
from ltxfilter.api.interpolation import Interpolator, interpolate

__all__ = ["Interpolator", "convert", "interpolate"]
