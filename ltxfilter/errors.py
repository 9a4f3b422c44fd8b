"""What can go wrong, as a tree with one exit code per family.

LtxFilterError
├── OptionError (ValueError)         2  an option, or two that contradict each other
├── InputError                       3  cannot open, probe or decode
├── OutputError                      4  cannot encode, mux or write
├── MemoryLimitError                 1  more memory was in use than --memory allows
├── EngineError                      5  drawing failed
│   └── EngineUnavailableError       5  a package, file or device is missing
├── ResourceError                    1  the system refuses memory or threads
└── Interrupted                130/143  a signal asked us to stop
"""

from __future__ import annotations


class LtxFilterError(Exception):
    """Base of every error that ltxfilter raises on purpose; `exit_code` is the process's."""

    exit_code = 1


class OptionError(LtxFilterError, ValueError):
    """An option that cannot be used; the message names it and what is allowed."""

    exit_code = 2


class InputError(LtxFilterError):
    """The input cannot be opened, probed or decoded; the message begins with its name."""

    exit_code = 3


class OutputError(LtxFilterError):
    """The output cannot be encoded, muxed or written; the message begins with its name."""

    exit_code = 4


class MemoryLimitError(LtxFilterError):
    """More memory was in use than an explicit bound allows; what was done is kept."""


class EngineError(LtxFilterError):
    """An engine could not draw; the message names the engine."""

    exit_code = 5


class EngineUnavailableError(EngineError):
    """An engine that cannot run here; the message says what to install or download."""


class ResourceError(LtxFilterError):
    """The system refuses memory or threads; the message says what to lower."""


class Interrupted(LtxFilterError):
    """A signal asked for an early, orderly end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum
        self.exit_code = 128 + signum


class Stopped(Exception):
    """The stop event was set while waiting."""
