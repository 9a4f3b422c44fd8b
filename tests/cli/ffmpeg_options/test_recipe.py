"""Lines to type instead of refused ones: each word goes to the program that takes it."""

from __future__ import annotations

import shlex

import pytest

from ltxfilter.cli.parse import parse
from ltxfilter.errors import OptionError


def typed(line: str) -> str:
    """Return what is to be typed instead of `line`."""
    with pytest.raises(OptionError) as refused:
        parse(shlex.split(line))
    _, _, instead = str(refused.value).rpartition(": ")
    return instead


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (
            "-i a.mkv -vf scale=2:2 b.mkv",
            "ltxfilter -i a.mkv -f nut - | ffmpeg -i - -vf scale=2:2 b.mkv",
        ),
        (
            "-y -ss 5 -fflags +genpts -i 'a b.mkv' -t 3 -r 60 --engine flow -threads 3 -s 64x48 "
            "-pix_fmt yuv420p -f mp4 b",
            "ltxfilter -ss 5 -fflags +genpts -i 'a b.mkv' -t 3 -r 60 --engine flow -threads 3 "
            "-f nut - | ffmpeg -y -i - -s 64x48 -pix_fmt yuv420p -f mp4 b",
        ),
        (
            "-stream_loop 2 -ss 1 -f mpegts -i a.ts -metadata title=x b.mkv",
            "ffmpeg -stream_loop 2 -f mpegts -i a.ts -c copy -f matroska - | "
            "ltxfilter -ss 1 -i - -metadata title=x b.mkv",
        ),
        (
            "-i a.mkv -vf scale=iw*2:ih*2 b.mkv",
            "ltxfilter -i a.mkv --scale 2x b.mkv",
        ),
        (
            "-i a.mkv -vf scale=w=1.5*iw:h=-2:flags=lanczos -crf 18 b.mkv",
            "ltxfilter -i a.mkv --scale 1.5x -crf 18 b.mkv",
        ),
        (
            "-i a.mkv -vf scale=iw*2:ih*1.5 b.mkv",
            "ltxfilter -i a.mkv -f nut - | ffmpeg -i - -vf 'scale=iw*2:ih*1.5' b.mkv",
        ),
        (
            "-i a.mkv -vf 'fps=50' -c:a copy b.mkv",
            "ltxfilter -i a.mkv --fps 50 -c:a copy b.mkv",
        ),
        (
            "-i a.mkv -vf framerate=fps=50 -c:a aac b.mkv",
            "ltxfilter -i a.mkv --fps 50 -f nut - | ffmpeg -i - -c:a aac b.mkv",
        ),
        (
            "-i https://example.com/a.mp4 -af volume=2 rtmp://example.com/b",
            "ltxfilter -i https://example.com/a.mp4 -f nut - | "
            "ffmpeg -i - -af volume=2 rtmp://example.com/b",
        ),
        ("-i a.mkv -o b.mkv -vf null", "ltxfilter -i a.mkv -f nut - | ffmpeg -i - -vf null b.mkv"),
    ],
)
def test_each_word_goes_to_the_program_that_takes_it(line: str, instead: str):
    assert typed(line) == instead
    for program in instead.split(" | "):
        if program.startswith("ltxfilter"):
            parse(shlex.split(program)[1:])


def test_what_no_ffmpeg_beside_it_does_has_no_line():
    with pytest.raises(OptionError, match=r"ffmpeg alone does this$"):
        parse(shlex.split("-i a.mkv -vn -c:a aac b.mka"))


@pytest.mark.parametrize(
    "words",
    ["-b:a 128k -ac 2 -ar 48k -c:a copy", "-an -c:a aac -b:a 128k -async 1", "-c copy -vbr:a on"],
)
def test_options_of_sound_that_is_copied_or_left_out_are_passed_over(words: str):
    found = parse(shlex.split(f"-i a.mkv {words} b.mkv")).options.output
    assert (found.encoder, found.path) == ({}, "b.mkv")


def test_two_names_without_an_input_show_what_was_meant():
    with pytest.raises(OptionError, match=r"did you mean ltxfilter -y -i a.mkv --fps 60 b.mkv\?"):
        parse(shlex.split("-y a.mkv --fps 60 b.mkv"))
    with pytest.raises(OptionError, match="run ltxfilter once for each"):
        parse(shlex.split("-i a.mkv b.mkv c.mkv"))
