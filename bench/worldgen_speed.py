"""How fast WorldGen is, with weights of any kind: a bidirectional pass, and streaming in four steps.

    python bench/worldgen_speed.py --config mini --json bench/results/worldgen_speed.json
    python bench/worldgen_speed.py --config wan-1.3b --device cuda --json bench/results/gpu/worldgen_wan-1.3b.json

A pass is of the window that `jwm info --config worldgen-NAME` tells of, or of --size and --frames. Streaming makes
chunks of --chunk latent frames by four passes and one more that remembers them, with a sink of 3 and a window of 9
(a whole number of chunks); with `mini` the autoencoder decodes them, too. Frames a second are those of latents that
each stand for one frame. Weights are new: they do not matter to speed. All conditions are given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jwmtool.device import num_threads, resolve_device
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS as AUTOENCODERS
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.config import CONFIGS, WorldGenConfig
from jwmtool.worldgen.mask import Causal
from jwmtool.worldgen.size import CLIPS, SINK, WINDOW, skeleton
from jwmtool.worldgen.transformer import WorldGen, build_model

_STEPS, _REPEATS = 4, 5


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="mini", choices=sorted(CONFIGS))
    parser.add_argument("--size", type=int, nargs=2, metavar=("W", "H"), help="latent cells")
    parser.add_argument("--frames", type=int, help="latent frames of a pass")
    parser.add_argument("--chunk", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device, config, clip = resolve_device(given.device), CONFIGS[given.config], CLIPS[given.config]
    width, height = given.size or (clip.width, clip.height)
    torch.set_num_threads(num_threads())
    model = new_model(config, device)
    found: dict[str, Any] = {
        "config": given.config,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": num_threads(),
        "torch": torch.__version__,
        "cells": [width, height],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    with torch.inference_mode():
        frames = given.frames or clip.frames
        latents, conditions = inputs(config, frames, width, height, device)
        times = torch.full((1, frames), 0.5, device=device)
        seconds = median_seconds(lambda: model(latents, times, conditions), device)
        found["pass"] = {"latent_frames": frames, "seconds": round(seconds, 4)}
        for chunk in given.chunk:
            found[f"stream_{chunk}"] = streaming(model, chunk, (width, height), device)
        if config.start_stride:
            found["decode_seconds_a_frame"] = decoding(width, height, device)
            for chunk in given.chunk:
                part = found[f"stream_{chunk}"]
                part["frames_per_second_decoded"] = round(
                    1.0 / (part["seconds_a_latent_frame"] + found["decode_seconds_a_frame"]), 2
                )
    if device == "cuda":
        found["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def new_model(config: WorldGenConfig, device: str) -> WorldGen:
    """Float32 on a CPU; bfloat16 on a GPU, made there."""
    if device == "cpu":
        return build_model(config).eval()
    model = skeleton(config).to(torch.bfloat16).to_empty(device=device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model.eval()


def inputs(
    config: WorldGenConfig, frames: int, width: int, height: int, device: str, first: int = 0
) -> tuple[Tensor, Conditions]:
    """Latents and all conditions of a batch of one."""
    shape = (1, 1, frames)
    text = None if config.num_tags else torch.randn(1, config.text_len, config.text_dim, device=device)
    conditions = Conditions(
        times_s=(torch.arange(first, first + frames, dtype=torch.float64, device=device) / config.latent_rate_hz)[None],
        text=text,
        ego=torch.randn(1, frames, config.ego_dim, device=device) if config.ego_dim else None,
        concat=torch.rand(*shape, config.concat_channels, height, width, device=device)
        if config.concat_channels
        else None,
        tags=torch.zeros(1, config.text_len, dtype=torch.int64, device=device) if config.num_tags else None,
    )
    return torch.randn(*shape, config.in_channels, height, width, device=device), conditions


def streaming(model: WorldGen, chunk: int, size: tuple[int, int], device: str) -> dict[str, float]:
    """Chunks once the window is full."""
    window = -(-WINDOW // chunk) * chunk + chunk  # what was before, and the chunk itself
    memory = model.new_memory(Causal(chunk, window, SINK))
    seconds: list[float] = []
    chunks = (SINK + window) // chunk + _REPEATS
    for k in range(chunks):
        latents, conditions = inputs(model.config, chunk, *size, device, first=k * chunk)
        started = clock(device)
        for step in range(_STEPS):
            t = torch.full((1, chunk), 1.0 - step / _STEPS, device=device)
            latents = latents - model(latents, t, conditions, memory)[:, :, :, : latents.shape[3]].to(latents) / _STEPS
        model(latents, torch.zeros(1, chunk, device=device), conditions, memory, remember=True)
        seconds.append(clock(device) - started)
    each = statistics.median(seconds[-_REPEATS:]) / chunk
    return {"seconds_a_latent_frame": round(each, 4), "latent_frames_per_second": round(1.0 / each, 2)}


def decoding(width: int, height: int, device: str) -> float:
    """Seconds a frame of the small autoencoder, eight at a time."""
    autoencoder = Autoencoder(AUTOENCODERS["mini"]).to(device).eval()
    latents = torch.randn(1, 8, autoencoder.channels, height, width, device=device)
    return round(median_seconds(lambda: autoencoder.decode(latents), device) / 8, 5)


def median_seconds(work: Callable[[], object], device: str) -> float:
    """Of a few, after one that counts for nothing."""
    work()
    seconds = []
    for _ in range(_REPEATS):
        started = clock(device)
        work()
        seconds.append(clock(device) - started)
    return statistics.median(seconds)


def clock(device: str) -> float:
    """Now, once the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
