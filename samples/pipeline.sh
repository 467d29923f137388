#!/usr/bin/env bash
# The whole chain: a recording, a clip or a made world -> scene -> grown scene -> renders -> generated video -> report.
# `make demo` calls it with jwm on the PATH; copy it and change what you like.
#   CLIP    a clip folder, or a recording that jwm ingest reads; without one, a small world is made on the spot
#   FIRST   seconds of it that the scene is first made of (2); the drive goes on up to
#   UNTIL   seconds (6)
#   SIZE    WxH to ingest a recording at (224x128, or 416x128 where its pictures are wide)
#   BUDGET  time for refining (20s)
#   FRAMES  of each generated video (48)
#   STEPS   of generation (4)
#   DEMO    folder for the results (demo)
set -euo pipefail
out=${DEMO:-demo}
clip=${CLIP:-}
first=${FIRST:-2} until=${UNTIL:-6}
budget=${BUDGET:-20s} frames=${FRAMES:-48} steps=${STEPS:-4}
mkdir -p "$out"

size_of() { # WIDTHxHEIGHT that suits the first camera of a clip
    jwm info "$1" --json | sed 's/.*"size": \[\([0-9]*\), \([0-9]*\)\].*/\1 \2/' | { read -r w h; [ $((w)) -gt $((5 * h / 2)) ] && echo 416x128 || echo 224x128; }
}

if [ -z "$clip" ]; then
    clip=$out/clip
    echo "1/7  making a world"
    jwm world suburb --seed 7 --duration 4s --size 224x128 --withhold every=4 -o "$clip" --force >/dev/null
elif [ -f "$clip/clip.json" ]; then
    echo "1/7  taking $clip"
else
    echo "1/7  ingesting $clip"
    size=${SIZE:-}
    if [ -z "$size" ]; then
        jwm ingest "$clip" -o "$out/look" --duration 0.2s --force --quiet >/dev/null
        size=$(size_of "$out/look")
    fi
    jwm ingest "$clip" -o "$out/clip" --duration "${until}s" --size "$size" --withhold every=4 --force >/dev/null
    clip=$out/clip
fi
jwm info "$clip" --sheet "$out/sheet.png" --force --quiet >/dev/null

echo "2/7  reconstructing a scene of the first $first s"
jwm reconstruct "$clip" --duration "${first}s" -o "$out/begin.h5" --force >/dev/null

echo "3/7  growing it as the car drives on"
status=0
jwm fuse "$out/begin.h5" "$clip" --start "${first}s" --duration "$((until - first))s" -o "$out/scene.h5" --force >/dev/null || status=$?
case $status in
    0) ;;
    2) echo "     the drive has ended by then" && cp "$out/begin.h5" "$out/scene.h5" ;;
    *) exit "$status" ;;
esac

echo "4/7  the same in one go, then refined ($budget), to score"
jwm reconstruct "$clip" --duration "${until}s" -o "$out/refined.h5" --refine "$budget" --force >/dev/null

echo "5/7  rendering"
jwm render "$out/refined.h5" -o "$out/video.mp4" --compare "$clip" --force >/dev/null
jwm render "$out/refined.h5" -o "$out/left_2m.mp4" --offset y=2 --force >/dev/null
jwm render "$out/scene.h5" -o "$out/birds_eye.png" --bev --force >/dev/null

echo "6/7  generating, $frames frames along the recorded path and 2 m to the left of it"
jwm generate --prior "$out/refined.h5" --clip "$clip" --frames "$frames" --steps "$steps" --preview -o "$out/generated.mp4" --force >/dev/null
jwm generate --prior "$out/refined.h5" --offset y=2 --frames "$frames" --steps "$steps" --preview -o "$out/generated_left_2m.mp4" --force >/dev/null

echo "7/7  scoring on the withheld frames"
jwm score "$out/refined.h5" "$clip" --psnr --ssim -o "$out/scores.json" --report "$out/report.html" --force >/dev/null

cat <<END

  scene      $out/scene.h5                grown drive by drive; $out/refined.h5: jwm info, jwm export --to ply
  rendered   $out/video.mp4               recorded and rendered side by side
             $out/left_2m.mp4             from two meters further left
             $out/birds_eye.png           from above
  generated  $out/generated.mp4           bare render, what the scene covers, and the generated video
             $out/generated_left_2m.mp4   where nobody drove
  report     $out/report.html             scores on frames that were withheld from it
END
