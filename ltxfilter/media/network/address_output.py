"""An output that is an address of the network; stands in for an `OutputFile`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from time import monotonic
from typing import Any

from ltxfilter.errors import LtxFilterError, OutputError, Stopped
from ltxfilter.media.network import avio
from ltxfilter.media.network.protocols import TS_DATAGRAM, unreachable
from ltxfilter.media.pipe.libav_io import Writer
from ltxfilter.options import OutputOptions
from ltxfilter.values import scheme_of

LOOK = 0.05  # seconds between two looks at whether a write was cancelled
GRACE = 0.4  # seconds that a write has left once it is cancelled
LATEST = 0.3  # seconds more until an interrupted call is left alone


class AddressOutput:
    """What a muxer writes goes to an address, by libav's protocol for it, as it is written.

    A thread of its own calls libav, so that whoever writes can be told to stop while the other side
    takes nothing. There is no provisional name: what is sent is gone.
    """

    direct = True
    opener = None  # see `OutputFiles`
    failure = None  # whoever writes is told of an error at once

    def __init__(self, options: OutputOptions, muxer: str) -> None:
        """Connect. muxer: FFmpeg's name of the format. Raises OutputError, OptionError, Stopped."""
        self.name = self.part = options.shown
        self._url = options.path
        self._address = avio.AddressWriter()
        self._deadline: float | None = None  # in seconds of `monotonic`, once cancelled
        self._ended = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        given = dict(options.muxer)
        if muxer == "mpegts" and scheme_of(options.path) == "udp" and "pkt_size" not in self._url:
            given = {"pkt_size": TS_DATAGRAM, **given}
        try:
            self._do(lambda: self._address.open(self._url, given, self.name))
        except OSError as error:
            self._end()
            reason = unreachable(self._url, error)
            raise OutputError(f"{self.name}: cannot be opened: {reason}") from error
        except BaseException:
            self._address.interrupt()
            self._end()
            raise

    def write(self, data: Any) -> int:
        """Send all of `data`; return its size in bytes. Raises OutputError, Stopped."""
        sent = bytes(data)
        try:
            self._do(lambda: self._address.write(sent))
        except OSError as error:
            raise self._lost(error) from error
        return len(sent)

    def write_all(self, buffers: Iterable[Any]) -> None:
        """Send `buffers`, bytes-like, one after another. Raises OutputError, Stopped."""
        for buffer in buffers:
            self.write(memoryview(buffer).cast("B"))

    def for_libav(self) -> Writer:
        """Return a file object for PyAV that cannot seek."""
        return Writer(self, self.name)

    def cancel(self) -> None:
        """End a write that waits GRACE seconds from now; safe in signal handlers and threads."""
        if self._deadline is None:
            self._deadline = monotonic() + GRACE

    def complete(self) -> None:
        """End the connection. Raises OutputError, Stopped."""
        try:
            self._do(self._address.close)
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self._end()

    def close(self) -> None:
        """End the connection of an output that is not complete; calling it twice does nothing."""
        if not self._ended:
            self.cancel()
            with suppress(LtxFilterError, Stopped):
                self.complete()

    discard = close

    def _do(self, call: Callable[[], None]) -> None:
        """Do `call` in the thread that calls libav. Raises Stopped once cancelled, OSError."""
        if self._ended:
            raise Stopped
        doing = self._thread.submit(call)
        while not self._is_done(doing):
            late = 0.0 if self._deadline is None else monotonic() - self._deadline
            if late > 0:
                self._address.interrupt()
            if late > LATEST:
                raise Stopped
        try:
            doing.result()
        except OSError:
            if self._deadline is not None and monotonic() > self._deadline:
                raise Stopped from None
            raise

    def _is_done(self, doing: Future[None]) -> bool:
        try:
            doing.exception(LOOK)
        except NotYet:
            return False
        return True

    def _end(self) -> None:
        self._ended = True
        self._thread.shutdown(wait=False)

    def _lost(self, error: OSError) -> OutputError:
        return OutputError(f"{self.name}: cannot be written: {error.strerror or error}")
