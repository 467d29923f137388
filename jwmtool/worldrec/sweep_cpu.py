"""The plane sweep's correlations on a CPU: Numba kernels that sample and correlate in one pass, joined to autograd.

Their twin in torch, which runs on GPUs, is `sweep.correlate_torch`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jwmtool.device import num_threads

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
MOST_CHANNELS = 256
SHORTEST = np.float32(0.3)  # as in sweep.py


def correlate_cpu(
    features: Tensor,  # [V, C, h, w]
    learned: int,
    groups: int,
    pairs: Tensor,  # [P, 2] int64
    maps: Tensor,  # [P, 3, 4] float32
    rays: Tensor,  # [V, 3, h, w]
    inverse: Tensor,  # [V, D, h, w]
) -> tuple[Tensor, Tensor]:
    """As `sweep.correlate_torch`."""
    result: tuple[Tensor, Tensor] = _Correlate.apply(features, learned, groups, pairs, maps, rays, inverse)
    return result


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        learned: int,
        groups: int,
        pairs: Tensor,
        maps: Tensor,
        rays: Tensor,
        inverse: Tensor,
    ) -> tuple[Tensor, Tensor]:
        packed = features.permute(0, 2, 3, 1).contiguous().numpy()
        fixed = (packed, rays.permute(0, 2, 3, 1).contiguous().numpy(), inverse.contiguous().numpy())
        height, width = packed.shape[1:3]
        count = fixed[2].shape[1]
        scores = np.zeros((len(pairs), groups + 1, count, height, width), np.float32)
        inside = np.zeros((len(pairs), count, height, width), np.float32)
        ctx.pairs, ctx.maps = pairs.tolist(), maps.contiguous().numpy()
        ctx.fixed, ctx.learned, ctx.groups = fixed, learned, groups

        def one(p: int) -> None:
            v, j = ctx.pairs[p]
            _forward(
                fixed[0][v], fixed[0][j], fixed[1][v], fixed[2][v], ctx.maps[p], learned, groups, scores[p], inside[p]
            )

        _each(one, len(pairs))
        seen = torch.from_numpy(inside)
        ctx.mark_non_differentiable(seen)
        return torch.from_numpy(scores), seen

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_scores: Tensor, grad_inside: Tensor) -> tuple[Tensor | None, ...]:
        packed, rays, inverse = ctx.fixed
        gradient = np.zeros_like(packed)
        given = grad_scores.contiguous().numpy()
        parts = np.zeros((len(ctx.pairs), *packed.shape[1:]), np.float32)  # what a pair sends to its other view
        own = np.zeros_like(parts)

        def one(p: int) -> None:
            v, j = ctx.pairs[p]
            _backward(
                packed[v],
                packed[j],
                rays[v],
                inverse[v],
                ctx.maps[p],
                ctx.learned,
                ctx.groups,
                given[p],
                own[p],
                parts[p],
            )

        _each(one, len(ctx.pairs))
        for p, (v, j) in enumerate(ctx.pairs):  # in order, so that sums do not depend on threads
            gradient[v] += own[p]
            gradient[j] += parts[p]
        return torch.from_numpy(gradient).permute(0, 3, 1, 2), None, None, None, None, None, None


def _each(work: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(max(1, num_threads())) as pool:
        list(pool.map(work, range(count)))


@_jit
def _forward(reference, other, rays, inverse, to_other, learned, groups, scores, inside):  # type: ignore[no-untyped-def]
    height, width, channels = reference.shape
    rows, columns = other.shape[0], other.shape[1]
    planes = inverse.shape[0]
    size = learned // groups
    product = np.empty(MOST_CHANNELS, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            turned_x = to_other[0, 0] * a + to_other[0, 1] * b + to_other[0, 2] * c
            turned_y = to_other[1, 0] * a + to_other[1, 1] * b + to_other[1, 2] * c
            turned_z = to_other[2, 0] * a + to_other[2, 1] * b + to_other[2, 2] * c
            for d in range(planes):
                w = inverse[d, y, x]
                depth = turned_z + to_other[2, 3] * w
                if depth <= np.float32(1e-4):
                    continue
                u = (turned_x + to_other[0, 3] * w) / depth
                v = (turned_y + to_other[1, 3] * w) / depth
                if not (u > 0.0 and v > 0.0 and u < columns and v < rows):
                    continue
                inside[d, y, x] = 1.0
                u = min(max(u - np.float32(0.5), np.float32(0.0)), np.float32(columns - 1))
                v = min(max(v - np.float32(0.5), np.float32(0.0)), np.float32(rows - 1))
                x0, y0 = int(u), int(v)
                x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
                fx, fy = u - np.float32(x0), v - np.float32(y0)
                w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                w10, w11 = (1 - fx) * fy, fx * fy
                for k in range(channels):
                    product[k] = (
                        w00 * other[y0, x0, k]
                        + w01 * other[y0, x1, k]
                        + w10 * other[y1, x0, k]
                        + w11 * other[y1, x1, k]
                    )
                for g in range(groups):
                    total = np.float32(0.0)
                    for k in range(g * size, (g + 1) * size):
                        total += reference[y, x, k] * product[k]
                    scores[g, d, y, x] = total
                total, square = np.float32(0.0), np.float32(0.0)
                for k in range(learned, channels):
                    total += reference[y, x, k] * product[k]
                    square += product[k] * product[k]
                scores[groups, d, y, x] = total / max(np.sqrt(square), SHORTEST)


@_jit
def _backward(reference, other, rays, inverse, to_other, learned, groups, given, grad_reference, grad_other):  # type: ignore[no-untyped-def]
    height, width = reference.shape[:2]
    rows, columns = other.shape[0], other.shape[1]
    planes = inverse.shape[0]
    size = learned // groups
    weight = np.empty(MOST_CHANNELS, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            turned_x = to_other[0, 0] * a + to_other[0, 1] * b + to_other[0, 2] * c
            turned_y = to_other[1, 0] * a + to_other[1, 1] * b + to_other[1, 2] * c
            turned_z = to_other[2, 0] * a + to_other[2, 1] * b + to_other[2, 2] * c
            for d in range(planes):
                w = inverse[d, y, x]
                depth = turned_z + to_other[2, 3] * w
                if depth <= np.float32(1e-4):
                    continue
                u = (turned_x + to_other[0, 3] * w) / depth
                v = (turned_y + to_other[1, 3] * w) / depth
                if not (u > 0.0 and v > 0.0 and u < columns and v < rows):
                    continue
                u = min(max(u - np.float32(0.5), np.float32(0.0)), np.float32(columns - 1))
                v = min(max(v - np.float32(0.5), np.float32(0.0)), np.float32(rows - 1))
                x0, y0 = int(u), int(v)
                x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
                fx, fy = u - np.float32(x0), v - np.float32(y0)
                w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                w10, w11 = (1 - fx) * fy, fx * fy
                for g in range(groups):
                    share = given[g, d, y, x]
                    for k in range(g * size, (g + 1) * size):
                        weight[k] = share
                for k in range(learned):
                    grad_reference[y, x, k] += weight[k] * (
                        w00 * other[y0, x0, k]
                        + w01 * other[y0, x1, k]
                        + w10 * other[y1, x0, k]
                        + w11 * other[y1, x1, k]
                    )
                    back = weight[k] * reference[y, x, k]
                    grad_other[y0, x0, k] += w00 * back
                    grad_other[y0, x1, k] += w01 * back
                    grad_other[y1, x0, k] += w10 * back
                    grad_other[y1, x1, k] += w11 * back
