#!/usr/bin/env bash
# The figures of `reconstruct --method optimize` on real recordings (docs/RESULTS.md): ingest, fit, score.
#     JWM_DATA=recordings/ bench/recordings.sh OUT
# Takes about 20 minutes on two idle cores; anything else that runs meanwhile lowers the figures.
set -euo pipefail
data=${JWM_DATA:?names the folder of recordings}
out=${1:?usage: bench/recordings.sh OUT}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

fit_and_score() { # name, budget
    jwm reconstruct "$out/$1" -o "$out/$1_$2.h5" --method optimize --budget "$2" --force -q
    jwm score "$out/$1_$2.h5" "$out/$1" -o "$out/$1_$2.json" --report "$out/$1_$2.html" --force -q
    jwm score "$out/$1_$2.h5" "$out/$1"
}

jwm ingest "$data/kitti_raw_0095_color/transforms_000-169.json" -o "$out/kitti_0095_a" --duration 10s --size 416x128 --withhold every=4 --force
jwm ingest "$data/kitti_raw_0095_color/transforms_206-267.json" -o "$out/kitti_0095_b" --size 416x128 --withhold every=4 --force
jwm ingest "$data/kitti_odometry_stereo_A" -o "$out/kitti_stereo" --size 416x128 --withhold camera=image_r --force
jwm ingest "$data/kitti_odometry_stereo_A" -o "$out/kitti_stereo_time" --size 416x128 --withhold every=4 --withhold camera=image_r --force
jwm ingest "$data/dgp_ddad_scene_02" -o "$out/ddad" --size 480x304 --withhold frames=1 --force

for drive in a b; do
    python "$here/optimize_curve.py" "$out/kitti_0095_$drive" --budget 300s \
        --json "$out/curve_kitti_0095_$drive.json" --svg "$out/curve_kitti_0095_$drive.svg" --scene "$out/kitti_0095_${drive}_300s.h5"
done
fit_and_score kitti_0095_a 60s
fit_and_score kitti_0095_b 60s
fit_and_score kitti_stereo 120s
fit_and_score kitti_stereo_time 120s
fit_and_score ddad 120s
