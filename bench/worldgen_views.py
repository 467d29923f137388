"""Whether the cameras of a rig agree where they overlap, and what the layers are worth by which they see each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from worldgen_figures import mean, overlap_figures
from worldgen_priors import true_frames
from worldgen_videos import FRAMES, recorded_drive

_ALONE = "_without_cross_view"


def views(bench: Any) -> dict[str, Any]:
    """Neighbors where they overlap, in videos of a scene, of first frames, and of nothing but the clip's words."""
    from jwmtool.artifacts.truth import read_truth

    found: dict[str, list[dict[str, Any]]] = {}
    lost: dict[str, list[float]] = {}  # by leaving the cross-view layers out: of each clip the mean, dB
    for k, path in enumerate(bench.some(bench.rigs, 8)):
        clip = bench.clip(path)
        names = list(clip.cameras)
        prior = bench.prior(clip, names)
        drive = recorded_drive(clip, names, bench.later(clip))
        true = torch.stack([true_frames(clip, name, bench.later(clip)) for name in names])
        made = {"true": true, "round_trip": bench.maker.round_trip(true), "prior": prior.color}
        begun = true[:, :1]
        for label, given, first in (("generated", prior, None), ("first_frames", None, begun), ("nothing", None, None)):
            for off in (False, True):
                bench.maker.one_view_at_a_time(off)
                video = bench.maker.make(drive, bench.arguments.seed + k, given, first)
                made[label + _ALONE if off else label] = video
            bench.maker.one_view_at_a_time(False)
        for t in range(1, FRAMES, 3):
            depths = {n: read_truth(clip, bench.later(clip)[t], n, ["depth"])["depth"] for n in names}
            cameras = {n: drive.camera_at(v, t) for v, n in enumerate(names)}
            for name, video in made.items():
                pictures = {n: video[v, t] for v, n in enumerate(names)}
                found.setdefault(name, []).extend(
                    {**row, "clip": k} for row in overlap_figures(pictures, cameras, depths)
                )
        for name in ("generated", "first_frames", "nothing"):
            pairs = zip(found[name], found[f"{name}{_ALONE}"], strict=True)
            lost.setdefault(name, []).append(mean([a["psnr"] - b["psnr"] for a, b in pairs if a["clip"] == k]))
        print("views", path.name, {name: values[-1] for name, values in lost.items()}, flush=True)
    return {
        "lost": {name: mean(values) for name, values in lost.items()},
        "lost_standard_error": {
            name: round(float(np.std(values, ddof=1) / len(values) ** 0.5), 3) if len(values) > 1 else None
            for name, values in lost.items()
        },
        "psnr": {name: mean([row["psnr"] for row in rows]) for name, rows in found.items()},
        "l1": {name: round(float(np.mean([row["l1"] for row in rows])), 4) for name, rows in found.items()},
        "pairs": len(found["true"]), "pixels": round(float(np.mean([row["pixels"] for row in found["true"]]))),
    }  # fmt: skip
