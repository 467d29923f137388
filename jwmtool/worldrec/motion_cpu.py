"""What other views say of places under every velocity, on a CPU, by a kernel; its twin is `motion.look_torch`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jwmtool.threads import in_threads
from jwmtool.worldrec.matching_kernels import look, sizes_of

_AT_ONCE = 256  # places


def look_cpu(
    features: Tensor,  # [V, C, h, w]
    groups: int,
    inverse: Tensor,  # [V, H, W]
    own: Tensor,  # [M, C]
    points: Tensor,  # [M, H, 3]
    other: Tensor,  # [M]
    maps: Tensor,  # [V, 3, 4] from points to homogeneous px
    nearest_m: float,
    tolerance: float,
) -> Tensor:
    """As `motion.look_torch`; no gradient flows."""
    packed = features.detach().permute(0, 2, 3, 1).contiguous().numpy()
    depth, mine = inverse.detach().contiguous().numpy(), own.detach().contiguous().numpy()
    places, chosen = points.detach().contiguous().numpy(), other.numpy()
    cameras = maps.detach().contiguous().numpy()
    out = np.zeros((*points.shape[:2], groups + 3), np.float32)
    sizes = sizes_of(packed.shape[3], groups)
    kernel: Callable[..., None] = look

    def some(first: int) -> None:
        rows = slice(first, first + _AT_ONCE)
        kernel(packed, depth, mine[rows], places[rows], chosen[rows], cameras, nearest_m, tolerance, sizes, out[rows])

    in_threads(some, range(0, len(out), _AT_ONCE))
    return torch.from_numpy(out)
