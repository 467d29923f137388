"""Find the sky: no depth seen, above the horizon, bright and even, and in the same direction from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float32]


def sky_mask(
    image: Floats,  # [H, W, 3] in [0, 1]
    camera: Camera,
    depth: Floats,  # [H, W] metres
    confidence: Floats,  # [H, W]
    *,
    near_m: float = 60.0,
) -> NDArray[np.bool_]:  # [H, W]
    """Mark pixels as sky.

    A pixel is sky if its ray rises, no confident depth below `near_m` lies there, and it is bright, even and not
    of a warm color. Regions must reach the top edge of the picture, or hold 0.2 % of it (a gap between trees). Bright
    walls that matching does not see pass, too: `confirm_sky` finds those that other pictures give away.
    """
    rising = camera.rays()[..., 2] > 0.02 * np.linalg.norm(camera.rays(), axis=-1)
    value = image @ np.array([0.299, 0.587, 0.114], np.float32)
    if not rising.any():
        return np.zeros(value.shape, bool)
    steep = ndimage.gaussian_gradient_magnitude(value, 1.0)
    bright = max(0.45, 0.75 * float(np.percentile(value[rising], 95)))
    cool = image[..., 2] >= image[..., 0] - 0.04
    unseen = ~((confidence > 0.3) & (depth < near_m))
    seed = rising & unseen & cool & (value > bright) & (steep < 0.06)
    seed = ndimage.binary_opening(seed, iterations=1)
    grown = rising & unseen & (value > 0.85 * bright) & cool
    region = ndimage.binary_propagation(seed, mask=grown)
    labels, count = ndimage.label(region)
    if count == 0:
        return np.zeros(value.shape, bool)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes > 0.002 * value.size
    keep[np.unique(labels[0])] = True
    keep[0] = False
    return np.asarray(keep[labels])


def confirm_sky(
    sky: NDArray[np.bool_],  # [H, W]
    camera: Camera,
    other_skies: Sequence[NDArray[np.bool_]],
    other_cameras: Sequence[Camera],
    *,
    share: float = 0.6,
) -> NDArray[np.bool_]:  # [H, W]
    """Keep sky that other pictures see as sky in the same direction.

    Sky stays where it is when the car moves; a white wall wanders off. A pixel is kept if at least `share` of the
    pictures that look in its direction call it sky; where none does, it is kept. Pictures from 3 m away or more tell
    most.
    """
    rows, columns = np.nonzero(sky)
    if len(rows) == 0:
        return sky
    directions = camera.rays()[rows, columns]
    votes, seen = np.zeros(len(rows)), np.zeros(len(rows))
    for mask, other in zip(other_skies, other_cameras, strict=True):
        uv, z = other.project(other.world_from_cam[:3, 3] + directions)
        inside = (z > 1e-3) & (uv > 0).all(1) & (uv[:, 0] < other.width) & (uv[:, 1] < other.height)
        at = np.flatnonzero(inside)
        seen[at] += 1
        votes[at] += mask[uv[at, 1].astype(np.int64), uv[at, 0].astype(np.int64)]
    kept = np.zeros_like(sky)
    kept[rows, columns] = votes >= share * seen
    return np.asarray(ndimage.binary_opening(kept) | (kept & ndimage.binary_erosion(sky, iterations=2)))
