#!/usr/bin/env bash
#SBATCH --job-name=jwm
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --output=jwm-%j.log
# The whole chain at full size on a box of GPUs: own models trained on own drives, then scenes and video of a new one.
# Install with a CUDA build of torch, `pip install jwmtool[train] gsplat`.
#   sbatch --export=ALL,CLIPS=/data/clips,DRIVE=/data/drive samples/pipeline_cuda.sh
set -euo pipefail
clips=${CLIPS:?a folder of clips to train on (jwm ingest makes them)}
drive=${DRIVE:?a recording that jwm ingest reads}
out=${OUT:-runs/${SLURM_JOB_ID:-local}}
gpus=${SLURM_GPUS_ON_NODE:-$(nvidia-smi -L | wc -l)}
mkdir -p "$out"
on_all() { torchrun --standalone --nproc-per-node "$gpus" --no-python "$@"; }

# A job that was cut short goes on where it was: every training resumes, finished steps are skipped.
train() { # MODEL FOLDER FLAGS...
    local model=$1 folder=$2
    shift 2
    [ -f "$folder/done" ] && return
    if [ -d "$folder/state" ]; then set -- "$@" --resume; fi
    on_all jwm train "$model" --data "$clips" -o "$folder" --precision bf16 "$@" && touch "$folder/done"
}

train worldrec "$out/worldrec" --config full --batch "$((4 * gpus))" --budget 8h
train autoencoder "$out/autoencoder" --config base --batch "$((32 * gpus))" --budget 4h
train worldgen "$out/worldgen" --config base --autoencoder "$out/autoencoder" --priors "$out/worldrec" --cache "$out/latents" \
    --batch "$((16 * gpus))" --budget 10h

[ -d "$out/clip" ] || jwm ingest "$drive" -o "$out/clip" --withhold every=4
[ -f "$out/scene.h5" ] || jwm reconstruct "$out/clip" --model "$out/worldrec" --refine 60s -o "$out/scene.h5"
jwm render "$out/scene.h5" --compare "$out/clip" -o "$out/video.mp4" --force
jwm generate --prior "$out/scene.h5" --clip "$out/clip" --model "$out/worldgen" --autoencoder "$out/autoencoder" \
    --frames 200 --steps 30 --guidance prior=1.5 --preview -o "$out/generated.mp4" --force
jwm score "$out/scene.h5" "$out/clip" -o "$out/scores.json" --report "$out/report.html" --force
echo "$out/report.html"
