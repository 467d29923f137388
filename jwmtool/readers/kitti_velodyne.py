"""KITTI's velodyne sweeps: float32 x, y, z (m, velodyne axes) and reflectance in [0, 1], point by point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError


def read_velodyne(file: Path) -> NDArray[np.float32]:  # [N, 4]
    """The points of a sweep.

    Raises:
        InputError: an empty file, or one that breaks off within a point.
    """
    data = np.fromfile(file, np.float32)
    if data.size % 4 or data.size == 0:
        raise InputError(file, "float32 x, y, z, reflectance", f"{data.size} values")
    return data.reshape(-1, 4)
