"""Push-pull: fill what is unknown of a picture from the known around it (Gortler et al., The Lumigraph, 1996)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def push_pull(
    color: Floats,  # [H, W, C]
    known: Floats,  # [H, W] in [0, 1]: how far the color counts
) -> Floats:  # [H, W, C]
    """Colors where they are known, and averages of the known ones nearby elsewhere; 0 if nothing is known."""
    levels = [(color * known[..., None], known)]
    while max(levels[-1][1].shape) > 1:
        weighted, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        half, half_weight = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (weighted, weight))
        half = half.reshape(*half_weight.shape, -1)
        # Once four cells hold as much as one known one, what they say counts fully.
        gain = np.minimum(4.0, 1.0 / np.maximum(half_weight, 1e-6)).astype(np.float32)
        levels.append((half * gain[..., None], half_weight * gain))
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for weighted, weight in reversed(levels[:-1]):
        above = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(weighted.shape)
        filled = weighted + (1.0 - weight)[..., None] * above
    return np.asarray(filled, np.float32)
