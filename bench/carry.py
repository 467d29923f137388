"""How well a first frame carried along the path foretells the frames that follow, for rooms of several sizes.

    python bench/carry.py worlds/eval --json bench/results/carry.json

PSNR against the true frames 4, 8 and 16 frames later, inside what is carried; `still` is the first frame itself.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from worldgen_figures import record
from worldrec import clips_in

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.worldgen.carry import Room, carried

LAGS = (4, 8, 16)
ROOMS = [Room(side, end) for side in (5.0, 8.0, 12.0, 20.0) for end in (30.0, 60.0, 120.0)]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    arguments, begun = parser.parse_args(), time.perf_counter()
    found: dict[str, list[list[float]]] = {}
    for path in [clip for folder in arguments.clips for clip in clips_in(folder)]:
        clip = read_clip(path)
        name = next(iter(clip.cameras))
        if len(clip.frames) <= max(LAGS):
            continue
        first, source = clip.load_image(0, name).astype(np.float32) / 255.0, clip.camera_at(0, name)
        for lag in LAGS:
            true = clip.load_image(lag, name).astype(np.float32) / 255.0
            for room in ROOMS:
                color, covered = carried(first, source, clip.world_from_rig[0], clip.camera_at(lag, name), room)
                inside = covered > 0
                row = found.setdefault(f"side {room.side_m:g} end {room.end_m:g}", [[] for _ in LAGS])
                row[LAGS.index(lag)].append(psnr(color, true, inside))
            found.setdefault("still", [[] for _ in LAGS])[LAGS.index(lag)].append(psnr(first, true, inside))
    figures = {name: {f"{lag} frames": round(float(np.mean(v)), 2) for lag, v in zip(LAGS, rows, strict=True)}
               for name, rows in found.items()}  # fmt: skip
    for name, row in figures.items():
        print(f"{name:20}", row)
    if arguments.json:
        record(
            arguments.json,
            "carry",
            {"num_clips": len(found["still"][0]), "psnr_db": figures},
            time.perf_counter() - begun,
        )


def psnr(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> float:
    """dB, of the pixels inside."""
    return float(-10.0 * np.log10(np.square(a - b)[inside].mean() + 1e-8))


if __name__ == "__main__":
    main()
