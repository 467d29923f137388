"""What other views say of places under every velocity, on a CPU: one Numba kernel; its twin is `motion.look_torch`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from jwmtool.device import num_threads
from jwmtool.worldrec.features import TEXTURE

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)  # plain numbers would make float64 of all
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
    sizes = (0,) * groups, (0,) * ((packed.shape[3] - TEXTURE) // groups)

    def some(first: int) -> None:
        rows = slice(first, first + _AT_ONCE)
        _look(packed, depth, mine[rows], places[rows], chosen[rows], cameras, nearest_m, tolerance, sizes, out[rows])

    with ThreadPoolExecutor(max(1, num_threads())) as pool:
        list(pool.map(some, range(0, len(out), _AT_ONCE)))
    return torch.from_numpy(out)


@_jit
def _look(features, inverse, own, points, other, maps, nearest_m, tolerance, sizes, out):  # type: ignore[no-untyped-def]
    rows, columns = features.shape[1:3]
    height, width = inverse.shape[1:3]
    stride = np.float32(height // rows)
    groups, size = len(sizes[0]), len(sizes[1])
    learned = groups * size
    found = np.empty(learned + TEXTURE, np.float32)
    for i in range(points.shape[0]):
        there, seen, m = features[other[i]], inverse[other[i]], maps[other[i]]
        for h in range(points.shape[1]):
            a, b, c = points[i, h, 0], points[i, h, 1], points[i, h, 2]
            depth = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3]
            if depth <= nearest_m:
                continue
            x = (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3]) / depth
            y = (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3]) / depth
            if not (x > ZERO and y > ZERO and x < width and y < height):
                continue
            u = min(max(x - HALF, ZERO), np.float32(width - 1))
            v = min(max(y - HALF, ZERO), np.float32(height - 1))
            x0, y0 = int(u), int(v)
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            fx, fy = u - np.float32(x0), v - np.float32(y0)
            surface = (ONE - fy) * ((ONE - fx) * seen[y0, x0] + fx * seen[y0, x1])
            surface += fy * ((ONE - fx) * seen[y1, x0] + fx * seen[y1, x1])
            off = np.log(depth * max(surface, np.float32(1e-3))) / tolerance
            u = min(max(x / stride - HALF, ZERO), np.float32(columns - 1))
            v = min(max(y / stride - HALF, ZERO), np.float32(rows - 1))
            x0, y0 = int(u), int(v)
            x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
            fx, fy = u - np.float32(x0), v - np.float32(y0)
            w00, w01 = (ONE - fx) * (ONE - fy), fx * (ONE - fy)
            w10, w11 = (ONE - fx) * fy, fx * fy
            for k in range(learned + TEXTURE):
                found[k] = (
                    w00 * there[y0, x0, k] + w01 * there[y0, x1, k] + w10 * there[y1, x0, k] + w11 * there[y1, x1, k]
                )
            for g in range(groups):
                part = ZERO
                for k in range(size):
                    part += own[i, g * size + k] * found[g * size + k]
                out[i, h, g] = part
            match = ZERO
            for k in range(learned, learned + TEXTURE):
                match += own[i, k] * found[k]
            out[i, h, groups] = match
            out[i, h, groups + 1] = np.exp(-off * off)
            out[i, h, groups + 2] = ONE
