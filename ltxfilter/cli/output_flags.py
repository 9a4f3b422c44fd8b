"""The flags that describe the output: its encoder, its container, its tags and its streams."""

from __future__ import annotations

from ltxfilter.cli.flag import Flag, Side

ENCODER_FLAGS = (
    Flag("crf", "N", "Encode at constant quality N; lower is better.", Side.OUTPUT),
    Flag("preset", "NAME", "Choose the encoder's speed.", Side.OUTPUT),
    Flag("tune", "NAME", "Choose the encoder's tuning.", Side.OUTPUT),
    Flag("profile", "NAME", "Choose the codec's profile.", Side.OUTPUT),
    Flag("level", "N", "Choose the codec's level.", Side.OUTPUT),
    Flag("b", "RATE", "Encode at a bit rate, as -b:v 5M.", Side.OUTPUT, ("vb",)),
    Flag("maxrate", "RATE", "Bound the peak bit rate.", Side.OUTPUT),
    Flag("bufsize", "SIZE", "Set the size of the rate control buffer.", Side.OUTPUT),
    Flag("q", "N", "Use a fixed quantizer, as -q:v 3.", Side.OUTPUT, ("qscale",)),
    Flag("qp", "N", "Use a constant quantizer.", Side.OUTPUT),
    Flag("g", "N", "Set the longest distance between I-frames, in frames.", Side.OUTPUT),
    Flag("bf", "N", "Use at most N B-frames in a row.", Side.OUTPUT),
    Flag("x264-params", "A=B:C=D", "Pass libx264's own options.", Side.OUTPUT, ("x264_params",)),
    Flag("x265-params", "A=B:C=D", "Pass libx265's own options.", Side.OUTPUT, ("x265_params",)),
    Flag(
        "svtav1-params", "A=B:C=D", "Pass libsvtav1's own options.", Side.OUTPUT, ("svtav1_params",)
    ),
)

MUXER_FLAGS = tuple(
    Flag(name, metavar, text, Side.OUTPUT)
    for name, metavar, text in (
        ("movflags", "FLAGS", "Set flags of mp4 and mov, such as +faststart."),
        ("brand", "NAME", "Set the major brand of mp4 and mov."),
        ("cluster_time_limit", "MS", "Bound the clusters of mkv, in milliseconds."),
        ("mpegts_flags", "FLAGS", "Set flags of ts."),
        ("hls_time", "SECONDS", "Set the least length of a segment of .m3u8."),
        ("hls_list_size", "N", "Keep N segments in the playlist of .m3u8; 0 keeps all."),
        ("hls_segment_filename", "NAME", "Name the segments of .m3u8, as out%03d.ts."),
        ("hls_segment_type", "TYPE", "Make segments of .m3u8 of mpegts (default) or fmp4."),
        ("seg_duration", "SECONDS", "Set the least length of a segment of .mpd."),
        ("segment_time", "SECONDS", "Set the least length of a file of -f segment."),
        ("segment_list", "FILE", "Write a list of the files of -f segment."),
        ("loop", "N", "Repeat an animation N times; 0 (default) forever, of GIF -1 never."),
        ("plays", "N", "Show an .apng N times; 0 (default) forever."),
        ("muxdelay", "SECONDS", "Set the delay between packet and picture in ts, in seconds."),
    )
)

COLOR_FLAGS = tuple(
    Flag(name, "NAME", text, Side.OUTPUT)
    for name, text in (
        ("colorspace", "Tag the matrix, such as bt709 or bt2020nc."),
        ("color_range", "Tag the range: tv or pc."),
        ("color_primaries", "Tag the primaries, such as bt709 or bt2020."),
        ("color_trc", "Tag the transfer, such as bt709 or smpte2084."),
    )
)

TAG_FLAGS = (
    Flag(
        "metadata",
        "KEY=VALUE",
        "Set a tag of the file, or of streams: -metadata:s:a:0 language=eng.",
        Side.OUTPUT,
    ),
    Flag(
        "map_metadata",
        "N",
        "Copy the input's tags (0, the default), or leave them out (-1).",
        Side.OUTPUT,
    ),
    Flag(
        "map_chapters", "N", "Copy chapters (0, the default), or leave them out (-1).", Side.OUTPUT
    ),
    Flag(
        "disposition",
        "FLAGS",
        "Set what streams are for, as -disposition:a:0 default.",
        Side.OUTPUT,
    ),
    Flag(
        "provenance",
        "short|full",
        "Tag the output with ltxfilter, its version, the engine and the seed (short, the default), "
        "or with the options, the prompt and the names of files too, and mark each frame of H.264 "
        "and HEVC (full).",
        Side.GENERAL,
    ),
    Flag(
        "no_provenance",
        "",
        "Write nothing about how the output was made.",
        Side.GENERAL,
        group="provenance",
    ),
    Flag("timecode", "HH:MM:SS:FF", "Set the timecode of the first frame.", Side.OUTPUT),
)

OUTPUT_FLAGS = (
    Flag("o", "FILE", "Write FILE. The name alone will do.", Side.OUTPUT),
    Flag(
        "c:v",
        "NAME",
        "Choose the video encoder, such as libx264.",
        Side.OUTPUT,
        ("vcodec", "codec:v"),
    ),
    Flag(
        "tag",
        "FOURCC",
        "Set the codec's four characters in the container, as -tag:v hvc1.",
        Side.OUTPUT,
        ("vtag",),
    ),
    Flag("aspect", "W:H", "Set the aspect of the display, such as 16:9.", Side.OUTPUT),
    *ENCODER_FLAGS,
    *COLOR_FLAGS,
    *MUXER_FLAGS,
    Flag("c", "copy", "Copy all streams except video (default).", Side.OUTPUT, ("codec",)),
    Flag("c:a", "copy", "Copy audio (default).", Side.OUTPUT, ("acodec", "codec:a")),
    Flag("c:s", "copy", "Copy subtitles (default).", Side.OUTPUT, ("scodec", "codec:s")),
    Flag("c:d", "copy", "Copy data streams (default).", Side.OUTPUT, ("dcodec", "codec:d")),
    Flag("c:t", "copy", "Copy attachments (default).", Side.OUTPUT, ("codec:t",)),
    *TAG_FLAGS,
    Flag(
        "frames",
        "N",
        "End after N output frames.",
        Side.OUTPUT,
        ("vframes",),
    ),
    Flag("shortest", "", "End with the shortest of video and sound.", Side.OUTPUT),
    Flag("an", "", "Leave audio out.", Side.OUTPUT),
    Flag("sn", "", "Leave subtitles out.", Side.OUTPUT),
    Flag("dn", "", "Leave data streams out.", Side.OUTPUT),
    Flag(
        "map",
        "STREAMS",
        "Choose streams: 0, 0:v:1, 0:a:1, 0:p:2, 0:m:language:eng, 0:#0x101, -0:s. The first video "
        "that is named is interpolated, further ones are copied.",
        Side.OUTPUT,
    ),
)
