"""Decoding on hardware: which devices are here, which one is opened, and who decodes in the end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache, partial

import av
import av.codec.codec
import av.container
from av.codec.hwaccel import HWAccel, HWDeviceType, hwdevices_available

from ltxfilter.media.container.demux import open_container
from ltxfilter.media.encoding.ffmpeg_build import why_not
from ltxfilter.media.network.protocols import read_once
from ltxfilter.media.pipe.libav_io import Readable
from ltxfilter.options import InputOptions

log = logging.getLogger("ltxfilter.media")

TRIAL = "h264"  # the codec that every device decodes which FFmpeg can be told to use


def built_devices() -> list[str]:
    """Return FFmpeg's names of the kinds of device that it was built for."""
    return [str(kind) for kind in hwdevices_available()]


def working_devices() -> list[str]:
    """Return those of them that decode here."""
    return [kind for kind in built_devices() if missing(kind) is None]


@cache
def missing(kind: str, device: str | None = None) -> str | None:
    """Say why nothing decodes on a kind of device here; None if it can be opened.

    kind: FFmpeg's name, such as cuda. device: which of several; None is the first one.
    """
    if kind not in HWDeviceType.__members__:
        known = ", ".join(name for name in HWDeviceType.__members__ if name != "none")
        return f"FFmpeg knows no such device; it knows {known}"
    if kind not in built_devices():
        return f"this FFmpeg is built without it; it has {', '.join(built_devices())}"
    try:
        cause = why_not(lambda: HWAccel(kind, device).create(av.codec.codec.Codec(TRIAL, "r")))
    except NotImplementedError:
        return "FFmpeg decodes nothing on it by -hwaccel"
    which = f" {device}" if device else ""
    return None if cause is None else f"no such device{which} is found ({cause})"


@dataclass(frozen=True, slots=True)
class DecodingDevice:
    """On what a container was opened for decoding."""

    kind: str | None = None
    """FFmpeg's name of the kind of device; None: the CPU."""

    refused: str | None = None
    """Why it is not the device that was asked for, if it is not."""

    def say(self, wanted: str | None, context: av.VideoCodecContext) -> None:
        """Say who decodes, once the first frame is; nothing where no hardware was asked for.

        wanted: what -hwaccel asks for. context: what decodes: a device that was opened for it may
        still leave a codec, a profile, a depth or a size to the CPU.
        """
        if wanted in (None, "none"):
            return
        if self.refused is not None:
            log.log(
                logging.INFO if wanted == "auto" else logging.WARNING,
                "-hwaccel %s: %s; the CPU decodes",
                wanted,
                self.refused,
            )
        elif not context.is_hwaccel:
            log.warning(
                "-hwaccel %s: FFmpeg's decoder %s uses no hardware; the CPU decodes",
                wanted,
                context.name,
            )
        elif context.pix_fmt and av.VideoFormat(context.pix_fmt).components:
            profile = f" ({context.profile})" if context.profile else ""
            log.warning(
                "-hwaccel %s: %s does not decode this %s%s; the CPU decodes",
                wanted,
                self.kind,
                context.codec.canonical_name,
                profile,
            )
        elif wanted == "auto":
            log.info("-hwaccel auto: %s decodes", self.kind)


def open_for_decoding(
    options: InputOptions, file: Readable | None, format_name: str | None
) -> tuple[av.container.InputContainer, DecodingDevice]:
    """Open `options.path`, or `file` in its place, on hardware if that is asked for and works.

    Raises InputError, Stopped.
    """
    plain = partial(open_container, options, file, format_name)
    wanted, once = options.hwaccel, file is not None or read_once(options)
    if not wanted or wanted == "none":
        return plain(), DecodingDevice()
    reason = "no hardware here decodes this"
    for kind in built_devices() if wanted == "auto" else [wanted]:
        if refused := missing(kind, options.hwaccel_device):
            reason = reason if wanted == "auto" else refused
            continue
        container = plain(HWAccel(kind, options.hwaccel_device, allow_software_fallback=True))
        if once or wanted != "auto" or any(map(_on_hardware, container.streams.video)):
            return container, DecodingDevice(kind)
        container.close()
    return plain(), DecodingDevice(refused=reason)


def _on_hardware(stream: av.VideoStream) -> bool:
    context = stream.codec_context
    return context is not None and context.is_hwaccel
