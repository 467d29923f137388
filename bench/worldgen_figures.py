"""Arithmetic of the video generator's figures, and the file that they are gathered in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from jwmtool.geometry.camera import Camera

COVERED = 0.5  # coverage from which a pixel counts as covered
_SKY_M = 1e6
DEPTH_TOLERANCE = 0.03  # share by which depths of one point may differ between two cameras, pixels being wide
Floats = NDArray[np.float64]


def ranks(values: Sequence[float] | Floats) -> Floats:
    """From 1; equal values share the mean of theirs."""
    values = np.asarray(values, np.float64)
    order = np.argsort(values, kind="stable")
    _, group, counts = np.unique(values[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found = np.empty(len(values))
    found[order] = (last - 0.5 * (counts - 1))[group]
    return found


def spearman(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Rank correlation; nan where one of them does not vary."""
    x, y = ranks(a), ranks(b)
    if len(x) != len(y):
        raise ValueError(f"spearman: expected as many of one as of the other, found {len(x)} and {len(y)}")
    x, y = x - x.mean(), y - y.mean()
    both = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / both) if both > 0 else float("nan")


def frame_psnrs(
    made: Tensor,  # [T, 3, H, W] in [0, 1]
    true: Tensor,  # [T, 3, H, W]
    inside: Tensor | None = None,  # [T, 1, H, W] bool
) -> list[float]:
    """Of each frame, dB; nan where nothing is inside."""
    error = (made.double().clamp(0.0, 1.0) - true.double()).square()
    if inside is None:
        mse = error.mean((1, 2, 3))
    else:
        mse = (error * inside).sum((1, 2, 3)) / (3.0 * inside.double().sum((1, 2, 3)))
    return [float(x) for x in -10.0 * torch.log10(mse.clamp(min=1e-12))]


def mean(values: Sequence[float]) -> float:
    """Of those that are numbers, to three places."""
    known = [v for v in values if not np.isnan(v)]
    return round(float(np.mean(known)), 3) if known else float("nan")


def warp_between(
    source: Tensor,  # [3, H, W], what one camera shows
    source_camera: Camera,  # poses in the world
    source_depth: Floats,  # [H, W] m, infinite: sky
    camera: Camera,
    depth: Floats,  # [H', W']
) -> tuple[Tensor, Tensor]:
    """A camera's picture as another one shows it at the same moment: [3, H', W'], and where both see the same [H', W'].

    True depth takes each pixel to its point and on into the other camera; it counts where that camera's own depth says
    that it sees this point, or where it is sky in both.
    """
    finite = np.isfinite(depth)
    points = camera.world_from_cam[:3, 3] + camera.rays() * np.where(finite, depth, _SKY_M)[..., None]
    uv, z = (x.reshape(*depth.shape, -1) for x in source_camera.project(points.reshape(-1, 3)))
    z = z[..., 0]
    before = z > 0.1
    height, width = source.shape[1:]
    within = before & (uv[..., 0] > 0.5) & (uv[..., 0] < width - 0.5) & (uv[..., 1] > 0.5) & (uv[..., 1] < height - 0.5)
    column, row = (np.where(within, uv[..., k], 0.0).astype(int) for k in range(2))
    there = source_depth[row, column]
    with np.errstate(invalid="ignore"):
        same = np.where(finite, np.abs(there - z) < DEPTH_TOLERANCE * z, np.isinf(there))
    grid = torch.from_numpy(2.0 * uv / np.array([width, height]) - 1.0).to(source)
    warped = grid_sample(source[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    return warped, torch.from_numpy(within & same)


def overlap_figures(
    pictures: Mapping[str, Tensor],  # by camera, [3, H, W]
    cameras: Mapping[str, Camera],
    depths: Mapping[str, Floats],
    least: int = 200,  # px that two cameras have to share
) -> list[dict[str, Any]]:
    """For each pair of cameras that share enough pixels: mean absolute difference and PSNR there."""
    found = []
    for a in pictures:
        for b in pictures:
            if a == b:
                continue
            warped, valid = warp_between(pictures[a], cameras[a], depths[a], cameras[b], depths[b])
            if int(valid.sum()) < least:
                continue
            error = (warped - pictures[b])[:, valid]
            psnr = -10.0 * torch.log10(error.square().mean().clamp(min=1e-12))
            found.append({"from": a, "to": b, "pixels": int(valid.sum()), "l1": float(error.abs().mean()),
                          "psnr": float(psnr)})  # fmt: skip
    return found


def record(path: Path, part: str, figures: Mapping[str, Any], seconds: float) -> None:
    """Put one part's figures beside those of the others, with the command that made them."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    command = " ".join(["python", "bench/" + Path(sys.argv[0]).name, *sys.argv[1:]])
    told = {**figures, "seconds": round(seconds, 1), "command": command}
    known[part] = json.loads(json.dumps(told), parse_constant=lambda _: None)  # JSON has no nan
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(known, indent=1) + "\n")
    os.replace(temporary, path)
