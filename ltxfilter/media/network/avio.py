"""libav's protocols for writing, called without PyAV: with options, and without holding the GIL.

PyAV opens an output's address while it keeps all of Python waiting, takes no options for the
protocol and cannot be interrupted. The functions called here are public ones of libavformat.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import av.container.core

from ltxfilter.errors import OptionError
from ltxfilter.media.network.option_names import PROTOCOL_OPTIONS

WRITE = 2  # AVIO_FLAG_WRITE
ANY_KEY = 2  # AV_DICT_IGNORE_SUFFIX
MESSAGE = 256  # bytes of a text of libav's


class _AvioContext(ctypes.Structure):
    """The beginning of an AVIOContext, whose order FFmpeg keeps within a major version."""

    _fields_ = [
        ("av_class", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("buffer_size", ctypes.c_int),
        ("buf_ptr", ctypes.c_void_p),
        ("buf_end", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("read_packet", ctypes.c_void_p),
        ("write_packet", ctypes.c_void_p),
        ("seek", ctypes.c_void_p),
        ("pos", ctypes.c_int64),
        ("eof_reached", ctypes.c_int),
        ("error", ctypes.c_int),
        ("write_flag", ctypes.c_int),
    ]


class _DictionaryEntry(ctypes.Structure):
    """An AVDictionaryEntry."""

    _fields_ = [("key", ctypes.c_char_p), ("value", ctypes.c_char_p)]


_Asked = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _InterruptCallback(ctypes.Structure):
    """An AVIOInterruptCB."""

    _fields_ = [("callback", _Asked), ("opaque", ctypes.c_void_p)]


@cache
def _library() -> Any:
    """Return the libavformat that PyAV uses: symbols are looked up in what its module links to."""
    library = ctypes.CDLL(av.container.core.__file__)
    library.avio_enum_protocols.restype = ctypes.c_char_p
    library.avio_close.argtypes = [ctypes.POINTER(_AvioContext)]
    library.avio_flush.argtypes = [ctypes.POINTER(_AvioContext)]
    library.avio_write.argtypes = [ctypes.POINTER(_AvioContext), ctypes.c_void_p, ctypes.c_int]
    library.avio_flush.restype = library.avio_write.restype = None
    library.av_dict_get.restype = ctypes.POINTER(_DictionaryEntry)
    return library


@cache
def protocols(*, writing: bool) -> frozenset[str]:
    """Return the names of the protocols that libav has for reading, or for writing.

    Where they cannot be asked for, the ones that every build has.
    """
    try:
        library, place = _library(), ctypes.c_void_p()
    except (OSError, AttributeError):  # this system finds no symbols in what a module links to
        return frozenset() if writing else frozenset(("http", "https", "rtmp", "tcp", "udp", "rtp"))
    names = iter(lambda: library.avio_enum_protocols(ctypes.byref(place), int(writing)), None)
    return frozenset(name.decode() for name in names)


class AddressWriter:
    """An open address of the network; calls wait until the other side takes what is written.

    `interrupt` ends such a call, from any thread. Errors are OSError, with libav's words.
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        self._context = ctypes.POINTER(_AvioContext)()
        self._asked: dict[None, int] = {None: 0}  # what libav is told when it asks whether to end
        self._callback = _InterruptCallback(
            _Asked(self._asked.get)
        )  # in C: no signal is handled in it

    def open(self, url: str, options: Mapping[str, str], name: str) -> None:
        """Connect. name: what messages call it. Raises OSError, OptionError."""
        library, given = _library(), ctypes.c_void_p()
        for key, value in options.items():
            library.av_dict_set(ctypes.byref(given), os.fsencode(key), os.fsencode(value), 0)
        try:
            _check(
                library.avio_open2(
                    ctypes.byref(self._context),
                    os.fsencode(url),
                    WRITE,
                    ctypes.byref(self._callback),
                    ctypes.byref(given),
                )
            )
            self._refuse_unused(given, name)
        finally:
            library.av_dict_free(ctypes.byref(given))

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises OSError."""
        library = _library()
        library.avio_write(self._context, data, len(data))
        library.avio_flush(self._context)
        _check(self._context.contents.error)

    def close(self) -> None:
        """End the connection; calling it twice does nothing. Raises OSError."""
        context, self._context = self._context, ctypes.POINTER(_AvioContext)()
        if context:
            _check(_library().avio_close(context))

    def interrupt(self) -> None:
        """End what waits, now and later on; safe in signal handlers and other threads."""
        self._asked[None] = 1

    def _refuse_unused(self, given: ctypes.c_void_p, name: str) -> None:
        """Raise OptionError for an option of protocols that this one did not take."""
        library, entry = _library(), None
        while entry := library.av_dict_get(given, b"", entry, ANY_KEY):
            key = os.fsdecode(entry.contents.key)
            if key in PROTOCOL_OPTIONS:
                self.close()
                raise OptionError(f"-{key}: FFmpeg's protocol of {name} has no such option")


def _check(code: int) -> None:
    """Raise OSError for an error of libav's."""
    if code >= 0:
        return
    text = ctypes.create_string_buffer(MESSAGE)
    _library().av_strerror(code, text, MESSAGE)
    raise OSError(-code if -code in errno.errorcode else 0, os.fsdecode(text.value))
