"""How a run of a model that may take minutes is ended from another thread."""

from __future__ import annotations

from threading import Event

from torch import nn

from ltxfilter.errors import Stopped


class Cancellation:
    """Set once by `cancel`; the models look at it between their layers."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        """Make `check` raise from now on; safe in signal handlers and other threads."""
        self._event.set()

    def check(self, *_: object) -> None:
        """Raise Stopped once it is cancelled."""
        if self._event.is_set():
            raise Stopped

    def watch(self, *modules: nn.Module) -> None:
        """Check before each of the modules runs; a CUDA graph that replays them does not check."""
        for module in modules:
            module.register_forward_pre_hook(self.check)

    def watch_layers(self, model: nn.Module) -> None:
        """Check before each part of the model that has parts of its own."""
        self.watch(*(part for part in model.modules() if next(part.children(), None) is not None))
