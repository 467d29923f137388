"""Depth and alpha as pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Turbo (A. Mikhailov, Google, 2019) as polynomials of degree 5 in x: red, green, blue in [0, 1].
_TURBO = np.array(
    [
        [0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943],
        [0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604],
        [0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973],
    ]
)


def turbo(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Color values in [0, 1] (clipped): blue is 0, red is 1. Any shape [...]; returns [..., 3]."""
    x = np.clip(np.nan_to_num(np.asarray(values, np.float64)), 0.0, 1.0)
    colors = np.polynomial.polynomial.polyval(x, _TURBO.T)
    return (np.clip(np.moveaxis(colors, 0, -1), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def depth_colors(
    depth_m: NDArray[np.floating],  # [H, W]; not positive: no surface
    near_m: float = 2.0,
    far_m: float = 80.0,
) -> NDArray[np.uint8]:
    """Color depth on a fixed logarithmic scale, near red and far blue, so that frames compare; no surface is black."""
    known = depth_m > 0.0
    nearness = np.log(far_m / np.where(known, depth_m, far_m)) / np.log(far_m / near_m)
    colors = turbo(nearness)
    colors[~known] = 0
    return colors


def gray(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values [H, W] in [0, 1] as gray [H, W, 3]."""
    levels = (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)
