"""Keep the depth that other pictures' depth maps agree with; average what agrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float32]

ALONE = 0.25  # factor on the confidence of what one picture alone has seen


def check_consistency(
    depth: Floats,
    confidence: Floats,
    camera: Camera,
    other_depths: Sequence[Floats],
    other_confidences: Sequence[Floats],
    other_cameras: Sequence[Camera],
    *,
    relative: float = 0.03,
    pixels: float = 0.4,
    min_views: int = 2,
) -> tuple[Floats, Floats]:
    """Compare one depth map with others of the same scene.

    A pixel's point is projected into each other picture; the depth stored there is lifted and brought back. The two
    agree if the depths differ by less than `relative`, or by less than 15 % where that is below `pixels` of motion
    (far away, a small parallax tells no more). A point that floats before a surface that another picture is sure
    of conflicts with it; a point behind such a surface is merely hidden there.

    Args:
        depth, confidence: [H, W] of the picture to check, metres along z and [0, 1].
        camera: its camera.
        other_depths, other_confidences, other_cameras: one a picture; sizes may differ.
        relative: tolerated relative difference of depth.
        pixels: tolerated motion in the picture checked, px.
        min_views: agreeing pictures needed; fewer suffice where fewer see the point, one at least.

    Returns:
        depth [H, W]: averaged over what agrees; confidence [H, W]: times `ALONE`
        where too few agree but none contradicts, 0 where some do.
    """
    height, width = depth.shape
    rays = camera.rays()
    origin = camera.world_from_cam[:3, 3]
    points = (origin + rays * depth[..., None].astype(np.float64)).reshape(-1, 3)
    inverse_depth = 1.0 / depth.astype(np.float64).ravel()
    total, weight = inverse_depth * confidence.ravel(), confidence.astype(np.float64).ravel()
    votes, seen, conflicts = np.zeros(height * width), np.zeros(height * width), np.zeros(height * width)
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    for its_depth, its_confidence, other in zip(other_depths, other_confidences, other_cameras, strict=True):
        uv, z = other.project(points)
        inside = (z > 0.1) & (uv > 0).all(1) & (uv[:, 0] < other.width) & (uv[:, 1] < other.height)
        at = np.flatnonzero(inside)
        column, row = uv[at, 0].astype(np.int64), uv[at, 1].astype(np.int64)
        found, sure = its_depth[row, column].astype(np.float64), its_confidence[row, column].astype(np.float64)
        # The depth found belongs to the pixel's centre; carry it to the projected point along the same ray.
        difference = np.abs(found - z[at]) / np.minimum(found, z[at])
        back = other.world_from_cam[:3, 3] + (points[at] - other.world_from_cam[:3, 3]) * (found / z[at])[:, None]
        pixel, back_z = camera.project(back)
        with np.errstate(invalid="ignore"):
            shift = np.hypot(*(pixel - grid[at]).T)
        confident = sure > 0.1
        agrees = confident & (back_z > 0.1) & ((difference < relative) | ((difference < 0.15) & (shift < pixels)))
        votes[at] += agrees
        seen[at] += confident
        conflicts[at] += (sure > 0.5) & (z[at] < found * (1 - 3 * relative)) & ~agrees
        chosen = at[agrees]
        total[chosen] += sure[agrees] / back_z[agrees]
        weight[chosen] += sure[agrees]
    needed = np.clip(seen, 1, min_views)
    support = np.where(votes >= needed, votes / np.maximum(votes + conflicts, 1), 0.0)
    support = np.where((votes < needed) & (conflicts == 0), ALONE, support)
    averaged = np.where(weight > 0, total / np.maximum(weight, 1e-9), inverse_depth)
    cleaned = confidence * support.reshape(height, width)
    return (1.0 / averaged).reshape(height, width).astype(np.float32), cleaned.astype(np.float32)


def remove_specks(
    depth: Floats, confidence: Floats, *, radius_px: int = 2, share: float = 0.35, relative: float = 0.08
) -> Floats:
    """Confidence [H, W] with 0 where fewer than `share` of the pixels around agree: right surfaces are not alone.

    A pixel around counts if it is confident itself and its depth differs by less than `relative`.
    """
    height, width = depth.shape
    padded_depth = np.pad(depth, radius_px, mode="edge")
    padded_confidence = np.pad(confidence, radius_px, mode="edge")
    count = np.zeros(depth.shape, np.float32)
    for dy in range(2 * radius_px + 1):
        for dx in range(2 * radius_px + 1):
            near = padded_depth[dy : dy + height, dx : dx + width]
            sure = padded_confidence[dy : dy + height, dx : dx + width] > 0.15
            count += sure & (np.abs(near - depth) < relative * depth)
    return np.where(count >= share * (2 * radius_px + 1) ** 2, confidence, 0).astype(np.float32)
