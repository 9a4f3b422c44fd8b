"""Latents of keyframes: each is encoded once, however many windows see it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from weakref import ref

from torch import Tensor

from ltxfilter.frame import Frame


class Encoded:
    """Remembers latents of frames for as long as the frames themselves are there.

    Each is encoded by itself: in a batch of another size it would be rounded otherwise.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        """Encode with `Models.encode`."""
        self._encode = encode
        self._known: dict[Hashable, tuple[ref[object], Tensor]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, frame: Frame, picture: Callable[[], Tensor], size: Hashable = None) -> Tensor:
        """Return the latent [1, 128, 1, h, w] of a frame.

        picture: gives what is to be encoded, [3, height, width] in -1..1. size: tells it from
        other pictures of the same frame.
        """
        samples = frame.planes[0]
        key = id(samples), size
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[0]() is samples:
                return known[1]
            latent = self._encode(picture()[None, :, None])
            self._known[key] = ref(samples, partial(self._forget, key)), latent
        return latent

    def _forget(self, key: Hashable, gone: object) -> None:
        """Drop what belongs to a frame that is gone, unless another took its place since."""
        known = self._known.get(key)
        if known is not None and known[0] is gone:
            self._known.pop(key, None)
