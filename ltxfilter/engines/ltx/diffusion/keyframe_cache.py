"""A cache of keyframes' latents: each keyframe is encoded once, however many windows hold it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from weakref import ref

from torch import Tensor

from ltxfilter.frame import Frame


class KeyframeCache:
    """Keeps the latents of frames for as long as the frames themselves exist.

    Each frame is encoded alone: float32 rounds differently in batches of different sizes.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        """Take the encoder, `Models.encode`."""
        self._encode = encode
        self._latents: dict[Hashable, tuple[ref[object], Tensor]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._latents)

    def latent(self, frame: Frame, picture: Callable[[], Tensor], size: Hashable = None) -> Tensor:
        """Return the latent [1, 128, 1, h, w] of a frame.

        picture: returns what to encode, [3, height, width] in -1..1. size: differs between several
        pictures of the same frame.
        """
        samples = frame.planes[0]
        key = id(samples), size
        with self._lock:
            entry = self._latents.get(key)
            if entry is not None and entry[0]() is samples:
                return entry[1]
            latent = self._encode(picture()[None, :, None])
            self._latents[key] = ref(samples, partial(self._forget, key)), latent
        return latent

    def _forget(self, key: Hashable, gone: object) -> None:
        """Drop the latent of a frame that is gone, unless a new frame has the same id by now."""
        entry = self._latents.get(key)
        if entry is not None and entry[0] is gone:
            self._latents.pop(key, None)
