"""Exposure: a 3x4 affine map of color for each camera over time (auto-exposure, white balance)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Exposure:
    """Affine color maps of one camera at the times at which it was fitted.

    Attributes:
        times_us: [F] int64, increasing.
        affine: [F, 3, 4] float32; color_out = affine[:, :3] @ color + affine[:, 3].
    """

    times_us: NDArray[np.int64]
    affine: Tensor

    def at(self, time_us: int) -> Tensor:
        """[3, 4] linearly interpolated between the neighbouring times, constant beyond the ends."""
        i = int(np.searchsorted(self.times_us, time_us))
        if i == 0:
            return self.affine[0]
        if i == len(self.times_us):
            return self.affine[-1]
        t0, t1 = int(self.times_us[i - 1]), int(self.times_us[i])
        return torch.lerp(self.affine[i - 1], self.affine[i], (time_us - t0) / (t1 - t0))


def apply_exposure(color: Tensor, affine: Tensor) -> Tensor:
    """Map color [..., 3] by affine [3, 4]."""
    return color @ affine[:, :3].T + affine[:, 3]
