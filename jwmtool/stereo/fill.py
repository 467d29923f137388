"""Complete a depth map: spread confident depth up to edges of the picture, and lay the road where nothing is seen."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera
from jwmtool.stereo.ground import fit_ground, ground_depth

Floats = NDArray[np.float32]

SPREAD_CONFIDENCE = 0.05  # given to depth that was spread from neighbours
GROUND_CONFIDENCE = 0.15  # given to depth that comes from the road's plane


def fill(
    depth: Floats,  # [H, W] metres
    confidence: Floats,  # [H, W]
    image: Floats,  # [H, W, 3] in [0, 1]
    camera: Camera,
    sky: NDArray[np.bool_],  # [H, W]
    *,
    threshold: float = 0.2,
    far_m: float = 150.0,
    plane: NDArray[np.float64] | None = None,
) -> tuple[Floats, Floats]:
    """Fill depth where the confidence is below `threshold`; return depth and confidence [H, W].

    Confident pixels keep theirs. Others take the edge-aware average of confident inverse depths around them (domain
    transform, Gastal and Oliveira 2011, normalized by confidence), and may not lie below the road: where they would,
    the road's plane takes over, as it does where the two are close. Sky gets depth inf and confidence 0; no depth
    spreads across it. Filled pixels get confidence 0.05 (spread) or 0.15 (road).

    Args:
        plane: the road (see `fit_ground`); None: fitted here.
    """
    known = (confidence >= threshold) & ~sky
    if plane is None:
        plane = fit_ground(camera, depth, np.where(known, confidence, 0))
    weight = np.where(known, confidence, 1e-6).astype(np.float32)
    weight[sky] = 1e-9
    inverse = np.where(known, 1.0 / depth, 1.0 / far_m).astype(np.float32)
    stack = np.stack([inverse * weight, weight])
    spread = _domain_transform(stack, image, sky, sigma_px=60.0, sigma_color=0.25)
    guess = np.clip(spread[0] / np.maximum(spread[1], 1e-20), 1.0 / far_m, None)
    result = np.where(known, inverse, guess)
    sure = np.where(known, confidence, SPREAD_CONFIDENCE)
    if plane is not None:
        road = 1.0 / ground_depth(camera, plane)
        lies = ~known & (road > 1.0 / far_m) & (guess < 1.12 * road)
        result = np.where(lies, road, result)
        sure = np.where(lies, GROUND_CONFIDENCE, sure)
    return (
        np.where(sky, np.inf, 1.0 / result).astype(np.float32),
        np.where(sky, 0.0, sure).astype(np.float32),
    )


def _domain_transform(
    stack: Floats, image: Floats, sky: NDArray[np.bool_], *, sigma_px: float, sigma_color: float, passes: int = 3
) -> Floats:
    """Recursive edge-aware smoothing of [C, H, W] guided by an image; the border of the sky is a wall."""
    ratio = sigma_px / sigma_color
    across = 1.0 + ratio * np.abs(np.diff(image, axis=1)).sum(-1)
    down = 1.0 + ratio * np.abs(np.diff(image, axis=0)).sum(-1)
    across[sky[:, 1:] != sky[:, :-1]] = 1e6
    down[sky[1:] != sky[:-1]] = 1e6
    result = stack.astype(np.float64)
    for i in range(passes):
        sigma = sigma_px * np.sqrt(3.0) * 2.0 ** (passes - i - 1) / np.sqrt(4.0**passes - 1)
        base = np.exp(-np.sqrt(2.0) / sigma)
        _smooth_rows(result, base**across)
        _smooth_columns(result, base**down)
    return result.astype(np.float32)


@njit(nogil=True, cache=True)
def _smooth_rows(values, keep):  # type: ignore[no-untyped-def]
    channels, height, width = values.shape
    for c in range(channels):
        for y in range(height):
            for x in range(1, width):
                values[c, y, x] += keep[y, x - 1] * (values[c, y, x - 1] - values[c, y, x])
            for x in range(width - 2, -1, -1):
                values[c, y, x] += keep[y, x] * (values[c, y, x + 1] - values[c, y, x])


@njit(nogil=True, cache=True)
def _smooth_columns(values, keep):  # type: ignore[no-untyped-def]
    channels, height, width = values.shape
    for c in range(channels):
        for y in range(1, height):
            for x in range(width):
                values[c, y, x] += keep[y - 1, x] * (values[c, y - 1, x] - values[c, y, x])
        for y in range(height - 2, -1, -1):
            for x in range(width):
                values[c, y, x] += keep[y, x] * (values[c, y + 1, x] - values[c, y, x])
