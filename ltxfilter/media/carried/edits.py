"""What a user changes of the tags, chapters and dispositions that an output gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import av.container
import av.stream

from ltxfilter.errors import OptionError
from ltxfilter.media.carried.items import Item, Kind
from ltxfilter.media.carried.tags import is_any_name, maker_tag
from ltxfilter.options import OutputOptions

KEY = re.compile(r"(?s)(?:(?P<streams>g|s(?::[vVasdt])?(?::\d{1,4})?):)?(?P<name>.+)")
STREAMS = re.compile(r"(?P<kind>[vVasdt])?:?(?P<number>\d{1,4})?")
TYPES = {"v": "video", "V": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}
NEEDED_TAGS = {"alpha_mode"}  # tags of a stream that say how it is decoded


@dataclass(frozen=True, slots=True)
class Edits:
    """What becomes of tags, chapters and dispositions; the rest is copied."""

    tags: bool = True
    """False: the input's tags are left out."""

    chapters: bool = True
    """False: chapters are left out."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Tags to set, "" to remove: a name, or s:a:0:NAME for streams."""

    disposition: Mapping[str, str] = field(default_factory=dict)
    """What streams are for: a:0 -> default+forced; 0 is nothing."""

    made_by: str = ""
    """What made the output, for a tag of it; empty for none."""

    @classmethod
    def of(cls, options: OutputOptions) -> Self:
        """Return those that `options` ask for."""
        return cls(
            options.tags,
            options.chapters,
            options.metadata,
            options.disposition,
            options.made_by,
        )

    def apply(self, output: av.container.OutputContainer, video: av.stream.Stream) -> None:
        """Edit an output to which all streams were added. Raises OptionError.

        video: the stream that is encoded.
        """
        if not self.tags:
            output.metadata.clear()
            for stream in output.streams:
                kept = {key: stream.metadata[key] for key in NEEDED_TAGS & stream.metadata.keys()}
                _set_tags(stream, kept)
        if not self.chapters:
            output.set_chapters([])
        elif not self.tags:
            output.set_chapters([{**chapter, "metadata": {}} for chapter in output.chapters()])
        self._say_maker(output, video)
        for key, value in self.metadata.items():
            found = KEY.fullmatch(key)
            assert found is not None, key
            for target in _tagged(output, found["streams"]):
                target.metadata.pop(found["name"], None)
                if value:
                    target.metadata[found["name"]] = value
        for streams, value in self.disposition.items():
            for target in _streams(output, streams):
                target.disposition = _disposition(target.disposition, value)

    def _say_maker(self, output: av.container.OutputContainer, video: av.stream.Stream) -> None:
        """Write what made the output, unless the only place for it holds something else."""
        any_name = is_any_name(output.container_options)
        place = maker_tag(output.format.name, any_name=any_name) if self.made_by else None
        if place is None:
            return
        name, of_video = place
        target: Any = video if of_video else output
        if name != "comment" or name not in {key.lower() for key in output.metadata}:
            target.metadata[name] = self.made_by

    def edited(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield what a source carries that is to be kept, and the tags that are set."""
        given = {key: value for key, value in self.metadata.items() if _is_of_file(key)}
        for item in items:
            if item.kind is Kind.TAGS:
                kept = {name: value for name, value in item.tags if name not in given}
                given = {**(kept if self.tags else {}), **given}
            elif item.kind is not Kind.CHAPTERS or self.chapters:
                yield item
        if tags := tuple(sorted((name, value) for name, value in given.items() if value)):
            yield Item(Kind.TAGS, "tags", tags)


def _is_of_file(key: str) -> bool:
    found = KEY.fullmatch(key)
    return found is not None and not found["streams"] and found["name"] != "timecode"


def _set_tags(stream: av.stream.Stream, tags: dict[str, str]) -> None:
    if stream.type != "attachment":  # its tags are the name and the kind of the file
        stream.metadata.clear()
        stream.metadata.update(tags)


def _tagged(output: av.container.OutputContainer, streams: str | None) -> list[Any]:
    """Return what a tag is set of. streams: None, or g, for the file; s for all, s:a:0 for some."""
    if streams in (None, "g"):
        return [output]
    assert streams is not None
    return _streams(output, streams[2:])


def _streams(output: av.container.OutputContainer, specifier: str) -> list[av.stream.Stream]:
    """Return the streams that a specifier of ffmpeg means. Raises OptionError."""
    found = STREAMS.fullmatch(specifier)
    if found is None:
        raise OptionError(
            f"-disposition:{specifier}: write a:0 for the first stream of sound, v, s:1, or 2"
        )
    kind, number = found["kind"], found["number"]
    chosen = [each for each in output.streams if kind is None or each.type == TYPES[kind]]
    return chosen if number is None else chosen[int(number) : int(number) + 1]


def _disposition(before: av.stream.Disposition, text: str) -> av.stream.Disposition:
    """Return what ffmpeg makes of a value: names joined by +, or changes with a sign each."""
    names = re.findall(r"([+-]?)(\w+)", text)
    changed = before if text[:1] in ("+", "-") else av.stream.Disposition(0)
    for sign, name in names:
        if name == "0":
            continue
        try:
            flag = av.stream.Disposition[name]
        except KeyError:
            known = ", ".join(each.name or "" for each in av.stream.Disposition)
            raise OptionError(f"-disposition {text}: use 0, or some of {known}") from None
        changed = changed & ~flag if sign == "-" else changed | flag
    return changed
