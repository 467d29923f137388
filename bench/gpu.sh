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
for config in mini wan-1.3b wan-5b; do
    job "worldgen_$config" "$python" bench/worldgen_speed.py --config "$config" --device cuda --json "$results/worldgen_$config.json"
done
# Shipped checkpoints, trained on: worlds first, in as many goes as they take, then runs that resume.
train() { # name, words of `jwm train`
    local name=$1 run=$results/runs/$1
    shift
    local go=(--init "models/$name")
    [ -d "$run/state" ] && go=(--resume)
    "$python" -m jwmtool.cli.main train "$@" "${go[@]}" --data "$worlds/train" --budget 8m --device cuda -o "$run" &&
        grep held_out "$run/log.jsonl" | tail -n 1 >"$results/$name.json"
}
export -f train
export python results worlds
job worlds bash -c '"$python" -m jwmtool.cli.main world random --seed 5000000 --count 400 --rig front1 --size 224x128 --rate 10 \
    --duration 2.4s --weather random --time-of-day random --event random --lidar none -o "$worlds/train" --quiet &&
    echo "{}" >"$results/worlds.json"'
job worldgen-mini bash -c 'train worldgen-mini worldgen --batch 32 --precision bf16'
job worldrec-mini bash -c 'train worldrec-mini worldrec --batch 8'
job repair-mini bash -c 'train repair-mini repair --batch 32'
job first-frame-mini bash -c 'train first-frame-mini first-frame --batch 128'
exit $failed
