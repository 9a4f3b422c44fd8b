#!/usr/bin/env bash
# Between two ffmpegs: pipe.sh in.mp4 out.mp4. Nothing but frames goes through the pipes.
set -euo pipefail
ffmpeg -v error -i "$1" -f rawvideo - | ltxfilter -v warning | ffmpeg -v error -y -i - "$2"
