#!/usr/bin/env bash
# The main job from a clip to a scored video; `make demo` calls it with jwm on the PATH.
#   CLIP    clip to use; without one, a small world is made on the spot
#   BUDGET  time for refining (20s)
#   DEMO    folder for the results (demo)
set -euo pipefail
out=${DEMO:-demo}
budget=${BUDGET:-20s}
clip=${CLIP:-}
mkdir -p "$out"

if [ -z "$clip" ]; then
    clip=$out/clip
    echo "1/4  making a world"
    jwm world suburb --seed 7 --duration 3s --size 224x128 --withhold every=4 -o "$clip" --force >/dev/null
else
    echo "1/4  taking $clip"
fi
jwm info "$clip" --sheet "$out/sheet.png" --force --quiet >/dev/null

echo "2/4  reconstructing a scene, then refining it ($budget)"
jwm reconstruct "$clip" -o "$out/scene.h5" --refine "$budget" --force >/dev/null

echo "3/4  rendering"
jwm render "$out/scene.h5" -o "$out/video.mp4" --compare "$clip" --force >/dev/null
jwm render "$out/scene.h5" -o "$out/left_1m.mp4" --offset y=1 --force >/dev/null
jwm render "$out/scene.h5" -o "$out/birds_eye.png" --bev --force >/dev/null

echo "4/4  scoring on the withheld frames"
jwm score "$out/scene.h5" "$clip" --psnr --ssim -o "$out/scores.json" --report "$out/report.html" --force >/dev/null

cat <<END

  video   $out/video.mp4        recorded and rendered side by side
          $out/left_1m.mp4      from one metre further left
          $out/birds_eye.png    from above
  scene   $out/scene.h5         jwm info $out/scene.h5; jwm export $out/scene.h5 --to ply -o scene.ply
  report  $out/report.html      scores on frames that were withheld from it
END
