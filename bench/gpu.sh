#!/usr/bin/env bash
# Run every job that waits for an NVIDIA GPU, in order, each in under 9 minutes. A job whose result is there is skipped,
# so an interrupted run goes on where it stopped. Needs torch with CUDA and gsplat; results are JSON with the GPU's name.
#     bench/gpu.sh [RESULTS]        default: bench/results/gpu
set -uo pipefail
cd "$(dirname "$0")/.."
results=${1:-bench/results/gpu}
python=${PYTHON:-python3}
mkdir -p "$results"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
failed=0

job() { # name, command that writes $results/name.json
    local name=$1
    shift
    if [ -s "$results/$name.json" ]; then
        echo "$name: done already"
        return
    fi
    echo "$name: running"
    timeout 540 "$@" || { echo "$name: FAILED ($?)" && failed=1; }
}

"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"' || exit 5
job gsplat_parity "$python" bench/gsplat_parity.py --json "$results/gsplat_parity.json"
job rasterize "$python" bench/rasterize.py --device cuda --json "$results/rasterize.json"
worlds=$results/worlds
job worldrec_speed "$python" bench/streaming.py --model models/worldrec-mini --cache "$worlds" --seconds 2 10 --kinds \
    --device cuda --json "$results/worldrec_speed.json"
job worldrec_full "$python" bench/worldrec.py --worlds 2 --cache "$worlds" --untrained --config full --device cuda \
    --json "$results/worldrec_full.json"
exit $failed
