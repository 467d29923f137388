"""The road as a plane, fitted to confident points below the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float32]


def fit_ground(
    camera: Camera,
    depth: Floats,  # [H, W] metres
    confidence: Floats,  # [H, W]
    *,
    min_height_m: float = 0.8,
    max_height_m: float = 3.5,
    tolerance: float = 0.03,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """Fit a plane n . x = c (world z is up) by RANSAC; return (nx, ny, nz, c), n unit with nz > 0, or None.

    Points count if they are confident, nearer than 30 m, below the camera; the plane must be within 6 degrees of
    level, 0.8 to 3.5 m below the camera, and hold a fifth of the points. `tolerance` is relative to range: depth
    errors grow with it.
    """
    origin = camera.world_from_cam[:3, 3]
    rays = camera.rays()
    use = (confidence > 0.5) & (depth < 30.0) & (rays[..., 2] * depth < -0.5 * min_height_m)
    if use.sum() < 200:
        return None
    rng = np.random.default_rng(seed)
    points = (rays * depth[..., None])[use]
    if len(points) > 3000:
        points = points[rng.choice(len(points), 3000, replace=False)]
    limit = tolerance * np.maximum(np.abs(points[:, 2]), 0.02 * np.linalg.norm(points, axis=1)) + 0.01
    best, best_score = None, 0.2 * len(points)
    for triple in rng.integers(0, len(points), (300, 3)):
        a, b, c = points[triple]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < 1e-6 or abs(normal[2]) < 0.9945 * length:
            continue
        normal *= np.sign(normal[2]) / length
        height = -float(normal @ a)
        if min_height_m < height < max_height_m:
            inliers = np.abs(points @ normal + height) < 2 * limit
            if inliers.sum() > best_score:
                best, best_score = inliers, inliers.sum()
    if best is None:
        return None
    # z = p x + q y + r by weighted least squares: nearer points are more precise.
    kept = points[best]
    weights = 1.0 / limit[best]
    design = np.column_stack([kept[:, :2], np.ones(len(kept))]) * weights[:, None]
    p, q, r = np.linalg.lstsq(design, kept[:, 2] * weights, rcond=None)[0]
    normal = np.array([-p, -q, 1.0]) / np.sqrt(p * p + q * q + 1)
    return np.append(normal, normal[2] * r + normal @ origin)


def ground_depth(camera: Camera, plane: NDArray[np.float64]) -> Floats:
    """Depth [H, W] metres along z at which rays meet the plane; inf where they do not."""
    along = camera.rays() @ plane[:3]
    gap = plane[3] - plane[:3] @ camera.world_from_cam[:3, 3]  # negative: the camera is above
    with np.errstate(divide="ignore"):
        depth = gap / along
    return np.where(along < -1e-6, depth, np.inf).astype(np.float32)
