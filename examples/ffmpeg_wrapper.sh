#!/usr/bin/env bash
# Stands in for ffmpeg in programs that call it, such as Tdarr or Jellyfin: what encodes the video of
# one file is given interpolated frames; everything else goes to ffmpeg as it is.
#   LTXFILTER_FFMPEG   the ffmpeg itself (default: /usr/bin/ffmpeg)
#   LTXFILTER_OPTIONS  options of ltxfilter (default: --fps 60)
set -euo pipefail

real=${LTXFILTER_FFMPEG:-/usr/bin/ffmpeg}
read -ra options <<< "${LTXFILTER_OPTIONS:---fps 60}"
before=() part=() after=() input="" inputs=0 encodes=0 offset="" copyts=0

words=("$@")
for ((at = 0; at < $#; at++)); do
    word=${words[at]} value=${words[at + 1]:-}
    case $word in
        -copyts) copyts=1 ;;
        -c:v | -c:v:0 | -codec:v | -codec:v:0 | -vcodec)
            if [[ $inputs -gt 0 && $value != copy ]]; then encodes=1; fi ;;
    esac
    if [[ $word == -i ]]; then
        input=${value#file:} inputs=$((inputs + 1)) at=$((at + 1))
    elif ((inputs)); then
        after+=("$word")
    else
        case $word in
            -ss | -t | -to | -sseof) # which part of the input is meant
                part+=("$word" "$value") at=$((at + 1))
                [[ $word != -ss ]] || offset=$value ;;
            -f | -c:* | -codec:* | -vcodec | -hwaccel* | -probesize | -analyzeduration | -fflags)
                at=$((at + 1)) ;; # of the input, which ltxfilter opens as it is
            -noautorotate) ;;
            *) before+=("$word") ;;
        esac
    fi
done

if [[ $inputs != 1 || $encodes == 0 || ! -f $input ]]; then
    exec "$real" "$@"
fi
if [[ $copyts == 1 && -n $offset ]]; then
    before+=(-itsoffset "$offset")
fi
# Matroska with FFV1 loses nothing: colour tags, chapters, attachments go through the pipe too.
ltxfilter -v warning ${part[@]+"${part[@]}"} -i "$input" "${options[@]}" -c:v ffv1 -f matroska - |
    "$real" ${before[@]+"${before[@]}"} -f matroska -i - "${after[@]}"
