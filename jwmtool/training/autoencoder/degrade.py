"""Pictures made worse, as a render of a scene is worse than a photograph: the priors that a decoder learns to use.

They are blurred, shifted by fractions of pixels, of other color, and cover only parts; what they say is mostly right.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_BLURRED, _BLUR_PX = 0.5, (0.4, 1.6)  # share of pictures, Gaussian's deviation
_MOVED, _MOVED_PX = 0.5, 1.0  # largest deviation of the shift
_TINTED, _TINT = 0.5, 0.06
_HOLED, _HOLES = 0.7, (1, 7)
_GRID = 4  # cells across of random fields


def degraded(picture: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A prior of a picture [H, W, 3] in [0, 1]: its color, 0 where it covers nothing, and its coverage [H, W, 1]."""
    height, width = picture.shape[:2]
    color: NDArray[Any] = picture
    if rng.random() < _BLURRED:
        color = cv2.GaussianBlur(color, (0, 0), float(rng.uniform(*_BLUR_PX)))
    if rng.random() < _MOVED:
        color = _moved(color, rng)
    if rng.random() < _TINTED:
        color = color * np.exp(rng.normal(0.0, _TINT, 3)) + rng.normal(0.0, 0.5 * _TINT)
    coverage = _coverage(height, width, rng)
    if rng.random() < _HOLED:
        coverage *= _holes(height, width, rng)
    color = color.clip(0.0, 1.0) * (coverage > 0.0)
    return np.ascontiguousarray(color, np.float32), coverage


def _moved(picture: NDArray[Any], rng: np.random.Generator) -> Array:
    """Every part shifted by its own fraction of a pixel or so, as by wrong depth."""
    height, width = picture.shape[:2]
    deviation = float(rng.uniform(0.2, _MOVED_PX))
    across, down = (_field(height, width, rng) * np.float32(deviation) for _ in range(2))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(
        cv2.remap(picture, x + across, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _coverage(height: int, width: int, rng: np.random.Generator) -> Array:
    """Mostly everything; else all but a band along one side, as where a scene ends."""
    coverage = np.ones((height, width, 1), np.float32)
    if rng.random() < 0.3:
        band = int(rng.uniform(0.1, 0.6) * (height if rng.random() < 0.3 else width))
        side = int(rng.integers(3))
        if side == 0:
            coverage[:, :band] = 0.0
        elif side == 1:
            coverage[:, width - band :] = 0.0
        else:
            coverage[: min(band, height // 2)] = 0.0
    return coverage


def _holes(height: int, width: int, rng: np.random.Generator) -> Array:
    """Ellipses, and small gaps along a random field's crests, with soft rims or hard ones; 0 in them."""
    kept: NDArray[Any] = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(*_HOLES))):
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.uniform(0.02, 0.15) * width) + 1, int(rng.uniform(0.02, 0.25) * height) + 1)
        cv2.ellipse(kept, middle, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, 0.0, -1)
    if rng.random() < 0.5:
        kept[np.abs(_field(height, width, rng, cells=3 * _GRID)) > rng.uniform(1.3, 2.0)] = 0.0
    if rng.random() < 0.5:
        kept = cv2.GaussianBlur(kept, (0, 0), float(rng.uniform(0.5, 2.0)))
        kept[kept < 0.02] = 0.0
    return np.asarray(kept.clip(0.0, 1.0), np.float32)[..., None]


def _field(height: int, width: int, rng: np.random.Generator, cells: int = _GRID) -> Array:
    """Smooth noise [H, W] of about unit deviation."""
    coarse = rng.normal(0.0, 1.5, (cells, 2 * cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
