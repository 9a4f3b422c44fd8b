"""Command lines that other tools and guides give to ffmpeg, with ltxfilter in its place.

Each does what it asks for, or is refused with a reason and, where ffmpeg can help, with the line to
type instead.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import av
import pytest
from support.rich_media import make_rich

from ltxfilter.cli.main import run
from ltxfilter.cli.parse import parse

WORKS = ""
NO_ENCODER = "needs an? .* not found here|no such encoder here; use -c:v lib"
LINES = [  # tool or source, what stands behind "ffmpeg", and what happens: WORKS, or the message
    (
        "Tdarr, classic plugin",
        "-i in.mkv -map 0 -c copy -c:v libx265 -preset ultrafast -max_muxing_queue_size 9999 o.mkv",
        WORKS,
    ),
    (
        "Tdarr, classic plugin with sound",
        "-i in.mkv -map 0 -c copy -c:v libx265 -c:a aac o.mkv",
        "copied; .*: ltxfilter -i in.mkv -f nut - [|] ffmpeg -i - -map 0 -c copy -c:v libx265 "
        "-c:a aac o.mkv",
    ),
    (
        "Tdarr, decoding by name",
        "-c:v h264_cuvid -i in.mkv -c:v hevc_nvenc -preset slow -c:a copy o.mkv",
        "-c:v h264_cuvid before -i: .*-hwaccel auto",
    ),
    (
        "Tdarr, Migz on a GPU",
        "-i in.mkv -map 0 -c:v hevc_nvenc -rc:v vbr_hq -cq:v 19 -b:v 3M -minrate 2M -maxrate 4M "
        "-bufsize 5M -spatial_aq:v 1 -rc-lookahead:v 32 -c:a copy -c:s copy "
        "-max_muxing_queue_size 9999 -pix_fmt p010le o.mkv",
        NO_ENCODER,
    ),
    (
        "Tdarr, names of sound",
        '-i in.mkv -metadata:s:a:0 "title=Stereo" -metadata:s:a:0 language=eng -c copy -map 0 '
        "-max_muxing_queue_size 9999 o.mkv",
        WORKS,
    ),
    (
        "Tdarr, AV1",
        "-i in.mkv -map 0 -c:v libsvtav1 -crf 30 -preset 12 -svtav1-params tune=0:film-grain=0 "
        "-pix_fmt yuv420p10le -c:a copy -c:s copy -max_muxing_queue_size 9999 o.mkv",
        WORKS,
    ),
    (
        "Tdarr, time stamps of recordings",
        "-fflags +genpts+igndts -i in.mkv -map 0 -c copy -c:v libx264 o.mkv",
        WORKS,
    ),
    (
        "Jellyfin, streaming with a filter",
        "-analyzeduration 200M -f matroska,webm -autorotate 0 -i file:in.mkv -map_metadata -1 "
        "-map_chapters -1 -threads 0 -map 0:0 -map 0:1 -map -0:s -codec:v:0 libx264 "
        "-preset veryfast -crf 23 -maxrate 4150796 -bufsize 8301592 -profile:v:0 high -level 31 "
        "-x264opts:0 subme=0:me_range=4:rc_lookahead=10:me=dia:no_chroma_me:8x8dct=0 "
        '-force_key_frames:0 "expr:gte(t,0+n_forced*3)" -sc_threshold:v:0 0 -vf format=yuv420p '
        "-codec:a:0 copy -copyts -avoid_negative_ts disabled -max_muxing_queue_size 2048 -f hls "
        "-max_delay 5000000 -hls_time 3 -hls_segment_type mpegts -start_number 0 "
        "-hls_playlist_type vod -hls_list_size 0 -y o.m3u8",
        "-force_key_frames:0 is not supported: .*-g frames apart.*: ltxfilter .* -f nut - [|] "
        "ffmpeg -y -i - .*-force_key_frames:0 .* -vf format=yuv420p .* o.m3u8",
    ),
    (
        "Jellyfin, streaming",
        "-analyzeduration 200M -probesize 1G -f matroska,webm -autorotate 0 -i file:in.mkv "
        "-map_metadata -1 -map_chapters -1 -threads 0 -map 0:0 -map 0:1 -map -0:s "
        "-codec:v:0 libx264 -preset veryfast -crf 23 -maxrate 4150796 -bufsize 8301592 "
        "-profile:v:0 high -level 31 -x264opts:0 subme=0:me_range=4:rc_lookahead=10 "
        "-sc_threshold:v:0 0 -codec:a:0 copy -copyts -start_at_zero -avoid_negative_ts disabled "
        "-max_muxing_queue_size 2048 -f hls -max_delay 5000000 -hls_time 3 "
        "-hls_segment_type mpegts -start_number 0 -hls_segment_filename o%d.ts "
        "-hls_playlist_type vod -hls_list_size 0 -y o.m3u8",
        WORKS,
    ),
    (
        "Jellyfin, remuxing",
        "-analyzeduration 200M -probesize 1G -fflags +genpts -i file:in.mkv -map_metadata -1 "
        "-threads 0 -map 0:0 -codec:v:0 copy -start_at_zero -f mp4 -y o.mp4",
        "-c:v copy: the output has frames that are interpolated",
    ),
    (
        "Jellyfin, QSV",
        "-init_hw_device vaapi=va:,driver=iHD -init_hw_device qsv=qs@va -filter_hw_device qs "
        "-hwaccel vaapi -hwaccel_output_format vaapi -autorotate 0 -i file:in.mkv -autoscale 0 "
        "-map_metadata -1 -map 0:0 -codec:v:0 h264_qsv -low_power 1 -preset 7 -look_ahead 0 "
        "-b:v 292000 -maxrate 292000 -bufsize 584000 -g:v:0 72 -keyint_min:v:0 72 -y o.mp4",
        NO_ENCODER,
    ),
    (
        "Immich",
        "-i in.mkv -y -c:v h264 -c:a copy -movflags faststart -fps_mode passthrough -map 0:0 "
        "-map_metadata -1 -v verbose -preset ultrafast -crf 23 o.mp4",
        "-fps_mode passthrough is not supported: the output's rate is constant.*--fps source",
    ),
    (
        "Immich, at the times of the source",
        "--fps source -i in.mkv -y -c:v libx264 -c:a copy -movflags faststart "
        "-fps_mode passthrough -map 0:0 -map 0:1 -v verbose -preset ultrafast -crf 23 o.mp4",
        WORKS,
    ),
    (
        "FastFlix",
        '-y -i in.mkv -metadata title="My Video" -max_muxing_queue_size 1024 -map 0:0 -c:v libx265 '
        '-pix_fmt yuv420p10le -metadata:s:v:0 title="My Video" -x265-params '
        "aq-mode=2:repeat-headers=1 -crf:v 20 -preset:v ultrafast -map_metadata -1 -map_chapters 0 "
        '-map 0:1 -metadata:s:1 title="Stereo" -metadata:s:1 handler="Stereo" '
        "-metadata:s:1 language=eng -c:1 copy -disposition:a:0 default o.mkv",
        WORKS,
    ),
    (
        "h265ize",
        "-i in.mkv -y -acodec copy -vcodec libx265 -c:s copy -pix_fmt yuv420p -map 0:0 -map 0:1 "
        '-metadata:s:a:0 title="Japanese AAC LC (Stereo)" -map 0:2 -preset ultrafast '
        "-x265-params crf=19:ref=3:bframes=4 o.mkv",
        WORKS,
    ),
    (
        "LosslessCut",
        "-hide_banner -ss 0.1 -i in.mkv -t 0.2 -avoid_negative_ts make_zero -map 0:0 -c:0 copy "
        "-map 0:1 -c:1 copy -map_metadata 0 -movflags use_metadata_tags -movflags +faststart "
        "-default_mode infer_no_subs -ignore_unknown -f matroska -y o.mkv",
        WORKS,
    ),
    (
        "mpv-lossless-cut",
        "-nostdin -loglevel error -y -ss 0.1 -t 0.2 -i in.mkv -c copy -map 0 "
        "-avoid_negative_ts make_zero o.mkv",
        WORKS,
    ),
    (
        "DVR-Scan",
        "-y -nostdin -v error -ss 00:00:00.042 -i in.mkv -t 00:00:00.200 -map_metadata 0 -map 0 "
        "-map -0:d -c:v libx264 -preset fast -crf 21 -c:a aac -sn o.mp4",
        "ltxfilter -nostdin -v error -ss 00:00:00.042 -i in.mkv -t 00:00:00.200 -f nut - [|] "
        "ffmpeg -y -i - -map_metadata 0 -map 0 -map -0:d -c:v libx264 .* -c:a aac -sn o.mp4",
    ),
    (
        "StaxRip",
        "-threads 1 -hwaccel dxva2 -i in.mkv -f yuv4mpegpipe -strict -1 -loglevel fatal "
        "-hide_banner o.y4m",
        WORKS,
    ),
    (
        "x265, by a pipe",
        "-y -loglevel fatal -threads 8 -i in.mkv -map 0:0 -an -sn -vsync 0 -pix_fmt yuv420p "
        "-f rawvideo o.yuv",
        "-vsync 0 is not supported",
    ),
    (
        "IFME",
        '-hide_banner -ss 0 -i in.mkv -map_metadata 0 -map_chapters 0 -metadata title="x" '
        "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params crf=23:qcomp=0.8 "
        "-c:a copy -c:s copy o.mkv",
        WORKS,
    ),
    (
        "Shutter Encoder",
        "-strict -2 -hide_banner -threads 5 -hwaccel auto -i in.mkv -r 60000/1001 -c:v libx264 "
        "-b:v 5994k -profile:v high -an -ar 48k -b:a 256k -pix_fmt yuv420p "
        '-timecode "01:00:00;00" -sws_flags bicubic '
        '-metadata creation_time="2024-11-20T09:20:37Z" -y o.mp4',
        WORKS,
    ),
    (
        "Unmanic",
        "-hide_banner -loglevel info -i in.mkv -strict -2 -max_muxing_queue_size 10240 "
        "-map 0:v:0 -map 0:a:0 -c:v:0 libx265 -preset:v:0 ultrafast -x265-params:v:0 crf=28 "
        "-c:a:0 copy -y o.mkv",
        WORKS,
    ),
    (
        "FileFlows",
        "-fflags +genpts -probesize 300M -analyzeduration 200000000 -i in.mkv -y -map 0:v:0 "
        "-c:v:0 libx265 -preset ultrafast -crf 24 -pix_fmt:v:0 yuv420p10le -map 0:a:0 "
        '-c:a:0 copy -disposition:a:0 default -metadata comment="Created by FileFlows" '
        "-strict experimental o.mkv",
        WORKS,
    ),
    (
        "av1an, a chunk",
        "-y -hide_banner -loglevel error -i in.mkv -map 0:v:0 -an -sn -dn -strict -1 "
        "-pix_fmt yuv420p -f yuv4mpegpipe o.y4m",
        WORKS,
    ),
    (
        "av1an, the sound",
        "-y -hide_banner -loglevel error -i in.mkv -map_metadata 0 -vn -dn -c:a libopus "
        "-b:a 128k o.mkv",
        "-vn is not supported: ltxfilter is about video; ffmpeg alone does this",
    ),
    (
        "yt-dlp, --recode-video",
        "-y -loglevel repeat+info -i file:in.mkv -c:v libx264 -crf 20 -c:a copy "
        "-movflags +faststart file:o.mp4",
        WORKS,
    ),
    (
        "yt-dlp, --embed-metadata",
        "-y -loglevel repeat+info -i file:in.mkv -map 0 -dn -ignore_unknown -c copy "
        "-write_id3v1 1 -metadata date=20210801 -metadata purl= -movflags +faststart file:o.mp4",
        WORKS,
    ),
    (
        "guides to smooth video",
        "-i in.mkv -filter:v \"minterpolate='mi_mode=mci:mc_mode=aobmc:vsbmc=1:fps=120'\" o.mkv",
        "that is what ltxfilter does: ltxfilter -i in.mkv --fps 120 o.mkv",
    ),
    (
        "guides to smooth video, and scaled",
        "-i in.mov -vf minterpolate=fps=60,scale=1280:-2 -crf 18 o.mov",
        "ltxfilter -i in.mov -f nut - [|] ffmpeg -i - -vf minterpolate=fps=60,scale=1280:-2 "
        "-crf 18 o.mov",
    ),
    (
        "OBS, a recording for upload",
        "-i in.mkv -c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p -c:a copy "
        "-movflags +faststart o.mp4",
        WORKS,
    ),
    (
        "OBS, another sound",
        "-i in.mkv -i b.wav -map 0:v -map 1:a -c:v libx264 -shortest o.mkv",
        "-i is given twice; .*: ffmpeg -i in.mkv -i b.wav -map 0:v -map 1:a -c copy -f matroska - "
        "[|] ltxfilter -i - -c:v libx264 -shortest o.mkv",
    ),
    (
        "Shotcut, to edit",
        "-loglevel verbose -i in.mkv -max_muxing_queue_size 9999 -map_metadata 0 -ignore_unknown "
        "-f mov -codec:a copy -codec:v prores_ks -profile:v standard -sn -y o.mov",
        WORKS,
    ),
    (
        "Shotcut, a part",
        "-ss 00:00:00.1 -to 00:00:00.3 -i in.mkv -threads 2 -c:v libx264 -c:a copy o.mp4",
        WORKS,
    ),
    (
        "mkchromecast",
        "-re -i in.mkv -map_chapters -1 -vcodec libx264 -preset ultrafast -tune zerolatency "
        "-maxrate 10000k -bufsize 20000k -pix_fmt yuv420p -g 60 -f mp4 "
        "-max_muxing_queue_size 9999 -movflags frag_keyframe+empty_moov o.mp4",
        WORKS,
    ),
    (
        "homebridge-camera-ui",
        "-hide_banner -loglevel error -i http://127.0.0.1:9/ -f mpegts -vcodec mpeg1video "
        "-b:v 299k -r 20 -bf 0 -an -max_muxing_queue_size 9999 o.ts",
        "http://127.0.0.1:9/: Connection refused",
    ),
    (
        "Frigate",
        "-fflags +genpts+discardcorrupt -rtsp_transport tcp -use_wallclock_as_timestamps 1 "
        "-i rtsp://127.0.0.1:9/live -c:v libx264 -an o.mp4",
        "rtsp://127.0.0.1:9/live: Connection refused",
    ),
    (
        "a script for folders",
        "-i in.mkv -map 0 -c copy -c:v libx265 -crf 20 -preset slow -c:a libopus -b:a 96k "
        "-dn o.mkv",
        "ltxfilter -i in.mkv -f nut - [|] ffmpeg -i - -map 0 -c copy -c:v libx265 -crf 20 "
        "-preset slow -c:a libopus -b:a 96k -dn o.mkv",
    ),
    (
        "a recorder of television",
        "-y -i in.mkv -c:v libx264 -preset ultrafast -vsync cfr -async 1 -c:a copy o.mkv",
        WORKS,
    ),
    (
        "x265 in two passes",
        "-y -i in.mkv -c:v libx265 -preset ultrafast -b:v 800k -x265-params pass=1 -an -f null "
        "/dev/null",
        WORKS,
    ),
    (
        "x264 in two passes",
        "-y -i in.mkv -c:v libx264 -b:v 800k -pass 1 -an -f null /dev/null",
        "-pass is not supported: .*: ltxfilter -i in.mkv -f nut - [|] ffmpeg -y -i - -c:v libx264 "
        "-b:v 800k -pass 1 -an -f null /dev/null",
    ),
    (
        "advice for late sound",
        "-itsoffset 0.5 -i in.mkv -c:v libx264 o.mkv",
        "-itsoffset 0.5: times are not shifted: ffmpeg -itsoffset 0.5 -i in.mkv -c copy "
        "-f matroska - [|] ltxfilter -i - -c:v libx264 o.mkv",
    ),
    (
        "streaming for ever",
        "-stream_loop -1 -re -i in.mkv -c:v libx264 -preset veryfast -b:v 2500k -f flv "
        "rtmp://live.example/app/key",
        "ffmpeg -stream_loop -1 -i in.mkv -c copy -f matroska - [|] ltxfilter -re -i - "
        "-c:v libx264 -preset veryfast -b:v 2500k -f flv rtmp://live.example",
    ),
    (
        "VAAPI",
        "-hwaccel vaapi -hwaccel_output_format vaapi -vaapi_device /dev/dri/renderD128 -i in.mkv "
        "-c:v hevc_vaapi -qp 24 o.mkv",
        NO_ENCODER,
    ),
    (
        "Frigate, a recording",
        "-fflags +genpts+discardcorrupt -use_wallclock_as_timestamps 0 -i in.mkv -f segment "
        "-segment_time 10 -segment_format mp4 -reset_timestamps 1 -c:v libx264 -an o%03d.mp4",
        WORKS,
    ),
    (
        "Flowframes, pictures",
        "-y -loglevel error -stats -i in.mkv -map 0:v -start_number 1 -pix_fmt rgb24 o%08d.png",
        WORKS,
    ),
    (
        "the last seconds",
        "-sseof -1.6 -i in.mkv -c:v libx264 -c:a copy -y o.mkv",
        WORKS,
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    make_rich(folder / "in.mkv", frames=10)
    return folder


@pytest.mark.parametrize(
    ("line", "said"), [row[1:] for row in LINES], ids=[row[0] for row in LINES]
)
def test_a_line_for_ffmpeg_works_or_is_refused_with_the_way_out(
    line: str,
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mkv").symlink_to(folder / "in.mkv")
    code = run(shlex.split(line))
    message = " ".join(capfd.readouterr().err.split())
    output = Path(shlex.split(line)[-1].removeprefix("file:"))
    if said and not (said is NO_ENCODER and code == 0):  # where there is such a device it works
        assert code in (2, 3, 4), message
        assert re.search(said, message), message
        for program in message.rpartition(": ")[2].split(" | "):
            if program.startswith("ltxfilter -"):
                parse(shlex.split(program)[1:])
        assert not [each for each in tmp_path.iterdir() if each.name != "in.mkv"]
        return
    assert code == 0, message
    assert "%" not in output.name or len(list(tmp_path.glob("o*"))) > 0
    if output.exists() and output.suffix not in (".yuv", ".m3u8") and output.parts[0] != "/":
        with av.open(str(output)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 2


def test_there_are_at_least_forty():
    assert len(LINES) >= 40
    assert len({line for _, line, _ in LINES}) == len(LINES)


def test_the_line_that_is_written_out_runs(folder: Path, tmp_path: Path):
    """It is typed into a shell as it stands, with this ltxfilter."""
    import sys

    (tmp_path / "in.mkv").symlink_to(folder / "in.mkv")
    words = ["-i", "in.mkv", "--fps", "50", "-vf", "scale=64:-2", "-c:v", "libx264", "o 1.mkv"]
    refused = subprocess.run(
        [sys.executable, "-m", "ltxfilter", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert refused.returncode == 2
    typed = refused.stderr[refused.stderr.index("ltxfilter -i") :].strip()
    typed = typed.replace("ltxfilter ", f"{sys.executable} -m ltxfilter ")
    typed = typed.replace("ffmpeg ", "ffmpeg -v error ")
    done = subprocess.run(["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "o 1.mkv")) as container:
        assert container.streams.video[0].width == 64
        assert sum(1 for _ in container.decode(video=0)) == 20
