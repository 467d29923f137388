"""Streaming and fusion of WorldRec: speed and memory for clips of any length, and what fusion keeps and adds.

    python bench/streaming.py --model models/worldrec-mini --cache worlds/ --json bench/results/streaming.json

Speed: a world of one front camera, 416x128 at 10 Hz, its first `--seconds`; a process for each length, the network
loaded and its kernels compiled before; seconds count from the clip to the scene, pictures read. Memory is the peak of
the process.

Fusion, on worlds of each kind of 16 s, every fourth frame withheld:
  kept    PSNR of the withheld frames of the first 2 s, after 2, 8 and 16 s of streaming
  new     PSNR of the withheld frames of every later 2 s, by the whole scene and by that window's frames alone
  twice   Gaussians that a second drive (the frames between the first's, an hour later) adds to a scene of the first;
          PSNR of every second withheld frame of the first drive by the first scene and by both, and of the second
          drive's by the first scene and by both
  order   largest difference of PSNR between fuse(a, b) and fuse(b, a), of the two halves of the clip
  apart   Gaussians of two scenes 300 m apart, less those of their fusion
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ, SIZE, FUSION_S = 10.0, (416, 128), 16.0
LATER_US = 3_600_000_000


def main() -> None:
    """Measure, print and write."""
    from jwmtool.device import num_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where worlds are kept")
    parser.add_argument("--seconds", type=float, nargs="*", default=[2.0, 10.0, 30.0, 60.0])
    parser.add_argument("--kinds", nargs="*", default=["city", "suburb", "motorway", "country"], help="of the fusion")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1100], help="of each of those kinds")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"device": arguments.device, "threads": num_threads(), "speed": [], "fusion": []}
    context = multiprocessing.get_context("spawn")
    for seconds in arguments.seconds:
        path = world(arguments.cache, "city", arguments.seeds[0], max(arguments.seconds))
        with context.Pool(1) as pool:
            result["speed"].append(pool.apply(speed, (arguments.model, path, seconds, arguments.device)))
        print(result["speed"][-1], flush=True)
    for kind, seed in product(arguments.kinds, arguments.seeds):
        path = world(arguments.cache, kind, seed, FUSION_S)
        with context.Pool(1) as pool:
            result["fusion"].append(pool.apply(fusion, (arguments.model, path, arguments.device)))
        print(json.dumps(result["fusion"][-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def world(folder: Path, kind: str, seed: int, seconds: float) -> Path:
    """A world, made unless it is there."""
    from jwmtool.worlds.generate import write_world
    from jwmtool.worlds.spec import WorldSpec
    from jwmtool.worlds.world import make_world

    path = folder / f"{kind}-{seed}-{seconds:g}s"
    if not (path / "clip.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_world(make_world(WorldSpec(kind, seed, seconds, RATE_HZ, *SIZE), "front1", "none"), path)
    return path


def speed(weights: Path, path: Path, length: float, device: str) -> dict[str, float]:
    """The first seconds of a clip, all frames."""
    from worldrec import peak_mb  # the script beside this one

    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.device import resolve_device
    from jwmtool.worldrec.checkpoint import load_model
    from jwmtool.worldrec.stream import reconstruct_clip

    clip, model = read_clip(path), load_model(weights, resolve_device(device))
    keys = [key for key in clip.images() if key[0] < length * RATE_HZ]
    reconstruct_clip(clip, model, keys=keys[:4], device=device)  # compiles what is not cached
    began = time.monotonic()
    scene = reconstruct_clip(clip, model, keys=keys, device=device)
    spent = time.monotonic() - began
    return {
        "clip_s": length, "frames": len(keys), "seconds": round(spent, 2), "seconds_per_s": round(spent / length, 3),
        "peak_mb": round(peak_mb(device)), "gaussians": len(scene.gaussians),
    }  # fmt: skip


def fusion(weights: Path, path: Path, device: str) -> dict[str, Any]:
    """What fusion keeps and adds, on one world."""
    from jwmtool.artifacts.clip import Split
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.worldrec.checkpoint import load_model
    from jwmtool.worldrec.extend import extend_scene
    from jwmtool.worldrec.join import join_scenes
    from jwmtool.worldrec.stream import reconstruct_clip

    clip, model = read_clip(path), load_model(weights, device)
    frames = range(len(clip.frames))
    withheld = tuple(i for i in frames if i % 4 == 3)
    clip = replace(clip, split=Split(frames=withheld))
    given = clip.images(withheld=False)

    def until(first_s: float, last_s: float, keys: Any = given) -> list[Any]:
        return [key for key in keys if first_s <= key[0] / RATE_HZ < last_s]

    def build(keys: list[Any]) -> Any:
        return reconstruct_clip(clip, model, keys=keys, device=device)

    kept, scenes = {}, {}
    for seconds in (2.0, 8.0, 16.0):
        scenes[seconds] = build(until(0.0, seconds))
        kept[f"{seconds:g}"] = score(scenes[seconds], clip, [i for i in withheld if i < 2.0 * RATE_HZ])
    whole = scenes[16.0]
    new = []
    for k in range(1, 8):
        scored = [i for i in withheld if 2.0 * k <= i / RATE_HZ < 2.0 * (k + 1)]
        alone = build(until(2.0 * k, 2.0 * (k + 1)))
        new.append([score(whole, clip, scored), score(alone, clip, scored)])
    mean = np.mean(new, 0)
    even = [key for key in given if key[0] % 2 == 0]
    first = build(even)
    second = replace(clip, frames=[later(frame) for frame in clip.frames])
    both = extend_scene(first, second, model, keys=[key for key in given if key[0] % 2], device=device)
    some = list(withheld[::2])
    drives = {
        "first_drive": [score(scene, clip, some) for scene in (first, both)],
        "second_drive": [score(scene, second, some) for scene in (first, both)],
    }
    a, b = build(until(0.0, 9.0)), build(until(7.0, 16.0))
    ab, ba = join_scenes([a, b]), join_scenes([b, a])
    order = max(abs(score(ab, clip, [i]) - score(ba, clip, [i])) for i in withheld)
    away = b.world_from_scene.copy()
    away[:2, 3] += 300.0
    far = replace(b, world_from_scene=away)
    apart = len(a.gaussians) + len(far.gaussians) - len(join_scenes([a, far]).gaussians)
    return {
        "world": path.name, "kept": kept, "new_whole": round(float(mean[0]), 3), "new_alone": round(float(mean[1]), 3),
        "twice": round(len(both.gaussians) / len(first.gaussians) - 1.0, 4), **drives, "order": round(order, 3),
        "apart": apart, "gaussians": len(whole.gaussians),
    }  # fmt: skip


def score(scene: Any, clip: Any, frames: list[int]) -> float:
    """Mean PSNR of frames of the front camera, as `jwm score` counts it."""
    from jwmtool.metrics.protocol import score_scene

    only = replace(clip, split=replace(clip.split, frames=tuple(frames)))
    return round(float(score_scene(scene, only, names=("psnr",), depth=False, moving=()).means["psnr"]), 3)


def later(frame: Any) -> Any:
    """A frame of another drive over the same road."""
    images = {name: replace(image, time_us=image.time_us + LATER_US) for name, image in frame.images.items()}
    return replace(frame, time_us=frame.time_us + LATER_US, images=images)


if __name__ == "__main__":
    main()
