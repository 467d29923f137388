"""Tensors as pictures of bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def as_picture(image: Tensor) -> NDArray[np.uint8]:
    """[3, H, W] about [0, 1], on any device, to [H, W, 3]."""
    scaled = (image.clamp(0.0, 1.0) * 255.0 + 0.5).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(scaled).astype(np.uint8)
