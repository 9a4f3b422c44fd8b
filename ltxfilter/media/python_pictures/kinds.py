"""What other libraries hand out as pictures, and how more of the same is made.

A kind is told by the picture alone, and its library is imported only where a picture of it exists.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from ltxfilter.errors import InputError, OptionError

PIL_MODES = (
    "L",
    "RGB",
    "RGBA",
    "I;16",
)  # whose samples are codes of 8 or 16 bits, channel by channel


class PictureKind(ABC):
    """The pictures of one library, single ones and batches of them."""

    @abstractmethod
    def samples(self, picture: Any) -> Any:
        """Return the samples as a numpy array or torch tensor, shared where that is possible."""

    @abstractmethod
    def made(self, samples: Any, like: Any) -> Any:
        """Return a new picture, or batch, with these samples; the rest is as in `like`."""

    def stamped(
        self,
        picture: Any,
        first: Any,  # noqa: ARG002
        number: int,  # noqa: ARG002
        rate: Fraction,  # noqa: ARG002
    ) -> Any:
        """Return a picture, or batch, that says when it is shown, if this kind says so at all.

        first: what was handed in first. number: of the output picture, or of the batch's first one.
        rate: output pictures per second.
        """
        return picture


class Arrays(PictureKind):
    """NumPy arrays and torch tensors; those of a subclass come back as such."""

    def samples(self, picture: Any) -> Any:
        """Return the picture itself."""
        return picture

    def made(self, samples: Any, like: Any) -> Any:
        """Return the samples as the class of `like`."""
        kind = type(like)
        if isinstance(like, np.ndarray):
            return samples if kind is np.ndarray else samples.view(kind)
        plain = kind.__name__ in ("Tensor", "Parameter")
        return samples if plain else samples.as_subclass(kind)


class PilImages(PictureKind):
    """Images of Pillow; a new one keeps what `info` says, such as a colour profile."""

    def samples(self, picture: Any) -> Any:
        """Return a copy of the samples. Raises InputError for modes that are no codes."""
        if picture.mode not in PIL_MODES:
            raise InputError(
                f'an image of mode {picture.mode}; use {", ".join(PIL_MODES)}: convert("RGB")'
            )
        return np.asarray(picture)

    def made(self, samples: Any, like: Any) -> Any:
        """Return an image of the mode of `like`."""
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(samples))
        image.info = dict(like.info)
        return image


class DecordArrays(PictureKind):
    """The arrays of decord, where it is not told to hand out another library's."""

    def samples(self, picture: Any) -> Any:
        """Return a copy of the samples."""
        return picture.asnumpy()

    def made(self, samples: Any, like: Any) -> Any:
        """Return an array of decord."""
        array = sys.modules[type(like).__module__].array
        return array(np.ascontiguousarray(samples))


class TimedTensors(PictureKind):
    """Frames and batches of torchcodec: tensors with the times that they are shown at."""

    def samples(self, picture: Any) -> Any:
        """Return the tensor."""
        return picture.data

    def made(self, samples: Any, like: Any) -> Any:
        """Return a frame, or a batch, whose times are to be set."""
        if samples.ndim == 3:
            return replace(like, data=samples)
        unset = like.pts_seconds.new_zeros(len(samples))  # a batch has one per picture
        return replace(like, data=samples, pts_seconds=unset, duration_seconds=unset)

    def stamped(self, picture: Any, first: Any, number: int, rate: Fraction) -> Any:
        """Return the picture at its time: so many output intervals after the first one's."""
        import torch

        if picture.data.ndim == 3:
            begin, length = float(first.pts_seconds), float(1 / rate)
            return replace(
                picture, pts_seconds=begin + float(number / rate), duration_seconds=length
            )
        count = len(picture.data)
        begin = float(first.pts_seconds.flatten()[0])
        times = [begin + float((number + index) / rate) for index in range(count)]
        lengths = torch.full((count,), float(1 / rate), dtype=torch.float64)
        times = torch.tensor(times, dtype=torch.float64)
        return replace(picture, pts_seconds=times, duration_seconds=lengths)


def kind_of(picture: Any) -> PictureKind:
    """Return the kind of a picture or a batch. Raises InputError for what is neither."""
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(picture, pil.Image):
        return PilImages()
    if isinstance(picture, np.ndarray) or _is_tensor(picture):
        return Arrays()
    if hasattr(picture, "asnumpy"):
        return DecordArrays()
    if hasattr(picture, "pts_seconds") and _is_tensor(getattr(picture, "data", None)):
        return TimedTensors()
    hint = "; of several videos, give one: frames[0]" if isinstance(picture, list) else ""
    raise InputError(
        f"{type(picture).__name__} is neither a numpy array nor a torch tensor, nor a picture of "
        f"Pillow, decord or torchcodec{hint}"
    )


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "device")


def is_one_batch(frames: Any) -> bool:
    """Return True if `frames` are pictures in one batch: [N, H, W], or with channels.

    Raises OptionError for one picture, and for several videos at once.
    """
    try:
        kind = kind_of(frames)
    except InputError:
        return False
    shape = tuple(kind.samples(frames).shape)
    if len(shape) > 4:
        raise OptionError(f"frames of shape {shape} are several videos; give one: frames[0]")
    timed = isinstance(kind, (PilImages, TimedTensors))
    if len(shape) < 3 or (len(shape) == 3 and (timed or shape[2] in (3, 4))):
        raise OptionError(f"frames of shape {shape} are one picture; give several")
    return True


class HandedOut:
    """What a program hands out, one after the other, taken apart into pictures and put together.

    An item is a picture, or a batch of them: [N, H, W, C] or [N, C, H, W].
    """

    def __init__(self, rate: Fraction) -> None:
        """Begin a stream. rate: output pictures per second."""
        self._kind: PictureKind | None = None  # of the items
        self._rate = rate
        self._first: Any = None  # of the items
        self._number = 0  # of the next output picture

    def pictures(self, item: Any, *, is_batch: bool = False) -> Sequence[Any]:
        """Return the pictures of an item. Raises InputError.

        is_batch: whether the item is known to be a batch, as [N, H, W] may be.
        """
        kind = kind_of(item)
        if self._kind is None:
            self._kind, self._first = kind, item
        elif type(kind) is not type(self._kind):
            raise InputError(
                f"a {type(item).__name__} follows a {type(self._first).__name__}; all must be alike"
            )
        samples: Sequence[Any] = kind.samples(item)
        return samples if is_batch or _is_batch(samples) else (item,)

    def given_back(self, item: Any, outputs: Iterator[Any]) -> Iterator[Any]:
        """Yield the output pictures that an item completes as pictures, or as one batch."""
        if not _is_batch(kind_of(item).samples(item)):
            yield from map(self._single, outputs)
        elif pictures := list(outputs):
            yield self.batch(pictures, item)

    def _single(self, picture: Any) -> Any:
        """Return an output picture as it is handed out."""
        assert self._kind is not None
        stamped = self._kind.stamped(picture, self._first, self._number, self._rate)
        self._number += 1
        return stamped

    def batch(self, pictures: Sequence[Any], like: Any) -> Any:
        """Return output pictures, at least one, as a batch of the kind of `like`."""
        kind = kind_of(like)
        made = kind.made(_stacked(pictures), like)
        stamped = kind.stamped(made, self._first, self._number, self._rate)
        self._number += len(pictures)
        return stamped


def _is_batch(samples: Any) -> bool:
    """Return True for [N, H, W, C] or [N, C, H, W]."""
    return len(samples.shape) == 4


def _stacked(pictures: Sequence[Any]) -> Any:
    if isinstance(pictures[0], np.ndarray):
        return np.stack([np.asarray(picture) for picture in pictures])
    import torch

    return torch.stack([picture.detach() for picture in pictures])
