"""What an address of the network implies: protocols, formats, and whether FFmpeg has it here.

A name that was given over the network must never make libav open a local file, such as a playlist
that lists one. So each scheme allows only the protocols that it is made of.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import av

from ltxfilter.errors import OptionError
from ltxfilter.media.network import avio
from ltxfilter.options import InputOptions, OutputOptions
from ltxfilter.values import scheme_of

HTTP = "http,https,httpproxy,tcp,tls,crypto,data"  # crypto: segments that are encrypted
RTMP = "rtmp,rtmpe,rtmps,rtmpt,rtmpte,rtmpts,ffrtmphttp,ffrtmpcrypt,tcp,tls,http,https,httpproxy"
RTSP = "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy"
PROTOCOLS = {  # scheme -> the protocols that its addresses are made of
    **dict.fromkeys(("http", "https"), HTTP),
    **dict.fromkeys(("rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts"), RTMP),
    **dict.fromkeys(("rtsp", "rtsps"), RTSP),
    **dict.fromkeys(("rtp", "srtp"), "rtp,srtp,udp"),
    **dict.fromkeys(("mmsh", "mmst"), "mmsh,mmst,http,httpproxy,tcp"),
    "ftp": "ftp,tcp",
    "tls": "tls,tcp",
    "gopher": "gopher,tcp",
    "gophers": "gophers,tls,tcp",
    "icecast": "icecast,http,httpproxy,tcp,tls",
}
FORMATS = {  # scheme -> formats that are let in beside those of files
    **dict.fromkeys(("http", "https"), ("hls", "webvtt", "mpjpeg", "live_flv")),
    **dict.fromkeys(("rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts"), ("live_flv",)),
    **dict.fromkeys(("rtsp", "rtsps"), ("rtsp", "sdp", "rtp")),
    **dict.fromkeys(("rtp", "srtp"), ("rtp", "sdp")),
}
MUXERS = {  # scheme -> the format in which it is written unless -f names another
    **dict.fromkeys(("rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts"), "flv"),
    **dict.fromkeys(("udp", "udplite", "tcp", "tls", "srt", "rist"), "mpegts"),
    **dict.fromkeys(("rtp", "srtp"), "rtp_mpegts"),
}
# Without multiple_requests FFmpeg 8.1 goes back to a place over a connection that was closed. The
# time-out, in microseconds, ends the wait for a server that sends no ranges, and is asked for some.
HTTP_OPTIONS = {"multiple_requests": "1", "rw_timeout": "60000000"}
SEEKABLE = ("http", "https", "ftp")  # schemes whose servers may let a reader choose its place
TS_DATAGRAM = "1316"  # bytes: seven packets of MPEG-TS, which fit into what Ethernet carries
NO_OPENING = "rtsp"  # FFmpeg's muxer that opens its connections itself, and cannot be stopped then


def read_protocols(options: InputOptions) -> str:
    """Return the protocols that libav may use for an input, separated by commas."""
    named = options.demuxer.get("protocol_whitelist")
    scheme = scheme_of(options.path)
    return named or PROTOCOLS.get(scheme or "", scheme or "file")


def read_once(options: InputOptions) -> bool:
    """Return True for an input that comes over the network: it is read once, from its beginning."""
    return scheme_of(options.path) is not None or "protocol_whitelist" in options.demuxer


def input_options(options: InputOptions) -> dict[str, str]:
    """Return what libav is told of an address unless the user says otherwise."""
    return dict(HTTP_OPTIONS) if scheme_of(options.path) in ("http", "https") else {}


def can_seek(options: InputOptions) -> bool:
    """Return True where reading an address of the network may begin at -ss."""
    return scheme_of(options.path) in SEEKABLE


def formats_of(path: str) -> tuple[str, ...]:
    """Return the demuxers that an address lets in, beside those of files."""
    return FORMATS.get(scheme_of(path) or "", ())


def check_input(options: InputOptions) -> None:
    """Raise OptionError for an address that cannot be read here; names of files pass."""
    scheme = scheme_of(options.path)
    if scheme is None:
        return
    if options.format in ("rawvideo", "raw"):
        raise OptionError(
            f"{options.shown}: headerless video has no place on the network; {_feed(options.shown)}"
        )
    if scheme not in (*avio.protocols(writing=False), "rtsp", "rtsps"):
        raise OptionError(f"{_missing(options.shown, scheme)}; {_feed(options.shown)}")


def check_output(options: OutputOptions) -> None:
    """Raise OptionError for an address that cannot be written here; names of files pass."""
    scheme = scheme_of(options.path)
    if scheme is None:
        return
    follow = f"ltxfilter ... -f nut - | ffmpeg -i - ... {options.shown}"
    if scheme in ("rtsp", "rtsps") or options.format == NO_OPENING:
        raise OptionError(
            f"{options.shown}: RTSP is read, and not written, since a server that does not answer "
            f"could not be given up; let ffmpeg write it: {follow}"
        )
    if scheme not in avio.protocols(writing=True):
        raise OptionError(f"{_missing(options.shown, scheme)}; let ffmpeg write it: {follow}")


def format_by_address(path: str) -> str | None:
    """Return FFmpeg's name of the format that goes to an address; None if its ending says it."""
    return MUXERS.get(scheme_of(path) or "")


def ending_name(path: str) -> str:
    """Return what names the format of an output: of an address, the last part of its path."""
    return path if scheme_of(path) is None else PurePosixPath(urlsplit(path).path).name


def unreachable(path: str, error: Exception) -> str:
    """Say why an address could not be opened. error: what libav said."""
    reason = getattr(error, "strerror", None) or str(error)
    parts = urlsplit(path)
    with suppress(ValueError):
        if isinstance(error, (av.error.OSError, OSError)) and parts.hostname:
            try:
                socket.getaddrinfo(parts.hostname, None)
            except socket.gaierror:
                return f"there is no host named {parts.hostname}, or no name server answers"
    return reason


def _missing(name: str, scheme: str) -> str:
    return f"{name}: the FFmpeg that PyAV {av.__version__} brings has no {scheme}"


def _feed(name: str) -> str:
    return f"let ffmpeg read it: ffmpeg -i {name} -c copy -f matroska - | ltxfilter -i - ..."
