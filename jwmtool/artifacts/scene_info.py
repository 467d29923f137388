"""Describe a scene: counts, extents, quantiles, cameras, path, hash, history."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_layout import FORMAT, VERSION, scene_content_sha256
from jwmtool.gaussians.model import STATIC_SIGMA_S

QUANTILES = (0.05, 0.5, 0.95)


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Facts about a scene as plain JSON values; lengths in metres, times in seconds."""
    g = scene.gaussians
    moving = g.velocity.norm(dim=1) > 0
    fading = g.time_sigma < STATIC_SIGMA_S
    return {
        "format": FORMAT,
        "version": VERSION,
        "num_gaussians": len(g),
        "sh_degree": g.sh_degree,
        "num_moving": int(moving.sum()),
        "num_fading": int(fading.sum()),
        "num_imagined": int((g.imagined > 0).sum()),
        "num_tokens": None if scene.tokens is None else len(scene.tokens),
        "center_extent_m": _extent(g.means),
        "opacity_quantiles": _quantiles(g.opacities),
        "scale_quantiles_m": _quantiles(g.scales.flatten()),
        "max_speed_mps": round(float(g.velocity.norm(dim=1).max()), 3) if len(g) else 0.0,
        "sky": None if scene.sky is None else list(scene.sky.shape),
        "exposure": {name: len(e.times_us) for name, e in sorted(scene.exposure.items())},
        "cameras": {name: f"{c.width}x{c.height}" for name, c in sorted(scene.cameras.items())},
        "num_actors": len(scene.actors),
        "ego": _ego(scene),
        "time_origin_us": int(scene.time_origin_us),
        "content_sha256": scene_content_sha256(scene),
        "history": scene.history,
    }


def _extent(means: torch.Tensor) -> dict[str, list[float]]:
    """Box that holds the middle 98 % of the centres along each axis, and the whole box."""
    if len(means) == 0:
        return {}
    values = means.double().numpy()
    rows = {"min": values.min(0), "p01": np.quantile(values, 0.01, 0), "p99": np.quantile(values, 0.99, 0)}
    rows["max"] = values.max(0)
    return {name: [round(float(v), 3) for v in row] for name, row in rows.items()}


def _quantiles(values: torch.Tensor) -> dict[str, float]:
    if len(values) == 0:
        return {}
    found = np.quantile(values.double().numpy(), QUANTILES)  # torch.quantile refuses more than 16 M values
    return {f"p{100 * q:02.0f}": round(float(v), 5) for q, v in zip(QUANTILES, found, strict=True)}


def _ego(scene: Scene) -> dict[str, Any] | None:
    if len(scene.ego_times_us) == 0:
        return None
    steps_m = np.linalg.norm(np.diff(scene.ego_world_from_rig[:, :3, 3], axis=0), axis=1)
    return {
        "num_poses": len(scene.ego_times_us),
        "duration_s": round(float(scene.ego_times_us[-1] - scene.ego_times_us[0]) * 1e-6, 6),
        "length_m": round(float(steps_m.sum()), 3),
    }
