"""The plane sweep's scores on a CPU: Numba kernels that sample and correlate in one pass, joined to autograd.

Their twin in torch, which runs on GPUs, is `sweep.scores_torch`.
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
from jwmtool.worldrec.features import TEXTURE

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)  # plain numbers would make float64 of all
SHORTEST = np.float32(0.3)  # as in sweep.py


def scores_cpu(
    features: Tensor,  # [V, C, h, w]
    groups: int,
    index: Tensor,  # [V, N] int64
    valid: Tensor,  # [V, N] bool
    maps: Tensor,  # [V, N, 3, 4] float32
    rays: Tensor,  # [V, 3, h, w]
    inverse: Tensor,  # [V, D, h, w]
    cells_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """As `sweep.matching_scores`."""
    result: tuple[Tensor, Tensor] = _Scores.apply(features, groups, index, valid, maps, rays, inverse, cells_first)
    return result


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        groups: int,
        index: Tensor,
        valid: Tensor,
        maps: Tensor,
        rays: Tensor,
        inverse: Tensor,
        cells_first: bool,
    ) -> tuple[Tensor, Tensor]:
        packed = features.permute(0, 2, 3, 1).contiguous().numpy()
        V, D, height, width = inverse.shape
        if cells_first:
            scores = np.empty((V, height, width, groups + 2, D), np.float32).transpose(0, 3, 4, 1, 2)
            seen = np.empty((V, height, width, D), np.float32).transpose(0, 3, 1, 2)
        else:
            scores = np.empty((V, groups + 2, D, height, width), np.float32)
            seen = np.empty((V, D, height, width), np.float32)
        # Lengths of tuples are part of their type: the kernels are compiled for these very sizes, unrolled.
        sizes = (0,) * groups, (0,) * ((packed.shape[3] - TEXTURE) // groups)
        told = index.numpy(), valid.numpy(), maps.contiguous().numpy()
        fixed = rays.permute(0, 2, 3, 1).contiguous().numpy(), inverse.contiguous().numpy()
        kernel: Callable[..., None] = _forward

        def one(v: int) -> None:
            kernel(packed, v, *(a[v] for a in told), *(a[v] for a in fixed), sizes, scores[v], seen[v])

        _each(one, V)
        ctx.packed, ctx.told, ctx.fixed, ctx.sizes, ctx.seen = packed, told, fixed, sizes, seen
        count = torch.from_numpy(seen)
        ctx.mark_non_differentiable(count)
        return torch.from_numpy(scores), count

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_scores: Tensor, grad_seen: Tensor) -> tuple[Tensor | None, ...]:
        packed, told, fixed = ctx.packed, ctx.told, ctx.fixed
        given = grad_scores.numpy()
        kernel: Callable[..., None] = _backward
        gradient = np.zeros_like(packed)
        # What a view sends to each of its neighbors.
        parts = np.zeros((*told[0].shape, *packed.shape[1:3], packed.shape[3] - TEXTURE), np.float32)

        def one(v: int) -> None:
            kernel(
                packed, v, *(a[v] for a in told), *(a[v] for a in fixed), ctx.sizes, ctx.seen[v], given[v],
                gradient[v], parts[v],
            )  # fmt: skip

        _each(one, len(packed))
        for v, others in enumerate(told[0]):  # in order, so that sums do not depend on threads
            for k, other in enumerate(others):
                if told[1][v, k]:
                    gradient[other, ..., : parts.shape[-1]] += parts[v, k]
        return torch.from_numpy(gradient).permute(0, 3, 1, 2), *[None] * 7


def _each(work: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(max(1, num_threads())) as pool:
        list(pool.map(work, range(count)))


@_jit
def _forward(features, view, index, valid, maps, rays, inverse, sizes, scores, seen):  # type: ignore[no-untyped-def]
    height, width = features.shape[1:3]
    planes = inverse.shape[0]
    groups, size = len(sizes[0]), len(sizes[1])
    learned = groups * size
    found = np.empty(learned + TEXTURE, np.float32)
    total = np.empty(groups + 1, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            for d in range(planes):
                w = inverse[d, y, x]
                total[:] = ZERO
                count, best = ZERO, np.float32(-1.0)
                for n in range(len(index)):
                    if not valid[n]:
                        continue
                    m = maps[n]
                    depth = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3] * w
                    if depth <= np.float32(1e-4):
                        continue
                    u = (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3] * w) / depth
                    v = (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3] * w) / depth
                    if not (u > ZERO and v > ZERO and u < width and v < height):
                        continue
                    u = min(max(u - HALF, ZERO), np.float32(width - 1))
                    v = min(max(v - HALF, ZERO), np.float32(height - 1))
                    x0, y0 = int(u), int(v)
                    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
                    fx, fy = u - np.float32(x0), v - np.float32(y0)
                    w00, w01 = (ONE - fx) * (ONE - fy), fx * (ONE - fy)
                    w10, w11 = (ONE - fx) * fy, fx * fy
                    other = features[index[n]]
                    for k in range(learned + TEXTURE):
                        found[k] = (
                            w00 * other[y0, x0, k]
                            + w01 * other[y0, x1, k]
                            + w10 * other[y1, x0, k]
                            + w11 * other[y1, x1, k]
                        )
                    for g in range(groups):
                        part = ZERO
                        for k in range(size):
                            part += features[view, y, x, g * size + k] * found[g * size + k]
                        total[g] += part
                    match, square = ZERO, ZERO
                    for k in range(learned, learned + TEXTURE):
                        match += features[view, y, x, k] * found[k]
                        square += found[k] * found[k]
                    match /= max(np.sqrt(square), SHORTEST)
                    total[groups] += match
                    best = max(best, match)
                    count += ONE
                share = ONE / max(count, ONE)
                for g in range(groups + 1):
                    scores[g, d, y, x] = share * total[g]
                scores[groups + 1, d, y, x] = best if count > ZERO else ZERO
                seen[d, y, x] = count


@_jit
def _backward(features, view, index, valid, maps, rays, inverse, sizes, seen, given, grad_own, grad_others):  # type: ignore[no-untyped-def]
    height, width = features.shape[1:3]
    planes = inverse.shape[0]
    groups, size = len(sizes[0]), len(sizes[1])
    learned = groups * size
    weight = np.empty(learned, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            for d in range(planes):
                if seen[d, y, x] == ZERO:
                    continue
                w = inverse[d, y, x]
                share = ONE / seen[d, y, x]
                for g in range(groups):
                    for k in range(size):
                        weight[g * size + k] = share * given[g, d, y, x]
                for n in range(len(index)):
                    if not valid[n]:
                        continue
                    m = maps[n]
                    depth = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3] * w
                    if depth <= np.float32(1e-4):
                        continue
                    u = (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3] * w) / depth
                    v = (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3] * w) / depth
                    if not (u > ZERO and v > ZERO and u < width and v < height):
                        continue
                    u = min(max(u - HALF, ZERO), np.float32(width - 1))
                    v = min(max(v - HALF, ZERO), np.float32(height - 1))
                    x0, y0 = int(u), int(v)
                    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
                    fx, fy = u - np.float32(x0), v - np.float32(y0)
                    w00, w01 = (ONE - fx) * (ONE - fy), fx * (ONE - fy)
                    w10, w11 = (ONE - fx) * fy, fx * fy
                    other, sent = features[index[n]], grad_others[n]
                    for k in range(learned):
                        grad_own[y, x, k] += weight[k] * (
                            w00 * other[y0, x0, k]
                            + w01 * other[y0, x1, k]
                            + w10 * other[y1, x0, k]
                            + w11 * other[y1, x1, k]
                        )
                        back = weight[k] * features[view, y, x, k]
                        sent[y0, x0, k] += w00 * back
                        sent[y0, x1, k] += w01 * back
                        sent[y1, x0, k] += w10 * back
                        sent[y1, x1, k] += w11 * back
