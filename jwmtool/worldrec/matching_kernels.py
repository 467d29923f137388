"""Kernels of matching on a CPU: the sweeps over depth and over velocity sample maps and correlate in one pass.

All in one file: Numba's cache does not notice when a function in another file changes.
"""

from __future__ import annotations

import numba
import numpy as np

from jwmtool.worldrec.features import TEXTURE
from jwmtool.worldrec.sweep import SHORTEST

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)  # plain numbers would make float64 of all
_NEAREST, _LEAST = np.float32(1e-4), np.float32(SHORTEST)

Sizes = tuple[tuple[int, ...], tuple[int, ...]]


def sizes_of(channels: int, groups: int) -> Sizes:
    """What tells kernels the number of groups and of channels in each.

    Lengths of tuples are part of their type, so that kernels are compiled for these very sizes, unrolled.
    """
    return (0,) * groups, (0,) * ((channels - TEXTURE) // groups)


@_jit
def _seen(m, a, b, c, w, nearest, width, height):  # type: ignore[no-untyped-def]
    """Whether a homogeneous point falls into a map; its depth and its place there."""
    depth = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3] * w
    if depth <= nearest:
        return False, depth, ZERO, ZERO
    x = (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3] * w) / depth
    y = (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3] * w) / depth
    return x > ZERO and y > ZERO and x < width and y < height, depth, x, y


@_jit
def _corners(x, y, width, height):  # type: ignore[no-untyped-def]
    """Columns, rows and weights of the four cells about a place; beyond the border the border counts."""
    u = min(max(x - HALF, ZERO), np.float32(width - 1))
    v = min(max(y - HALF, ZERO), np.float32(height - 1))
    x0, y0 = int(u), int(v)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    fx, fy = u - np.float32(x0), v - np.float32(y0)
    return x0, x1, y0, y1, (ONE - fx) * (ONE - fy), fx * (ONE - fy), (ONE - fx) * fy, fx * fy


@_jit
def _read(other, corners, found):  # type: ignore[no-untyped-def]
    """All channels of a map at a place."""
    x0, x1, y0, y1, w00, w01, w10, w11 = corners
    for k in range(len(found)):
        found[k] = w00 * other[y0, x0, k] + w01 * other[y0, x1, k] + w10 * other[y1, x0, k] + w11 * other[y1, x1, k]


@_jit
def _product(own, found, first, count):  # type: ignore[no-untyped-def]
    """Of some of the channels of two places."""
    total = ZERO
    for k in range(count):
        total += own[first + k] * found[first + k]
    return total


@_jit
def score(features, view, index, valid, maps, rays, inverse, sizes, scores, seen):  # type: ignore[no-untyped-def]
    """Scores of one view's cells; see `sweep.matching_scores`."""
    height, width = features.shape[1:3]
    groups, size = len(sizes[0]), len(sizes[1])
    learned = groups * size
    found = np.empty(learned + TEXTURE, np.float32)
    total = np.empty(groups + 1, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            own = features[view, y, x]
            for d in range(inverse.shape[0]):
                total[:] = ZERO
                count, best = ZERO, -ONE
                for n in range(len(index)):
                    if not valid[n]:
                        continue
                    inside, _, u, v = _seen(maps[n], a, b, c, inverse[d, y, x], _NEAREST, width, height)
                    if not inside:
                        continue
                    _read(features[index[n]], _corners(u, v, width, height), found)
                    for g in range(groups):
                        total[g] += _product(own, found, g * size, size)
                    length = np.sqrt(_product(found, found, learned, TEXTURE))
                    match = _product(own, found, learned, TEXTURE) / max(length, _LEAST)
                    total[groups] += match
                    best = max(best, match)
                    count += ONE
                share = ONE / max(count, ONE)
                for g in range(groups + 1):
                    scores[g, d, y, x] = share * total[g]
                scores[groups + 1, d, y, x] = best if count > ZERO else ZERO
                seen[d, y, x] = count


@_jit
def score_backward(features, view, index, valid, maps, rays, inverse, sizes, seen, given, grad_own, grad_others):  # type: ignore[no-untyped-def]
    """Gradients of the learned channels, of the view itself and of what it sends to each neighbor."""
    height, width = features.shape[1:3]
    groups, size = len(sizes[0]), len(sizes[1])
    weight = np.empty(groups * size, np.float32)
    found = np.empty(groups * size, np.float32)
    for y in range(height):
        for x in range(width):
            a, b, c = rays[y, x, 0], rays[y, x, 1], rays[y, x, 2]
            for d in range(inverse.shape[0]):
                if seen[d, y, x] == ZERO:
                    continue
                share = ONE / seen[d, y, x]
                for g in range(groups):
                    for k in range(size):
                        weight[g * size + k] = share * given[g, d, y, x]
                for n in range(len(index)):
                    if not valid[n]:
                        continue
                    inside, _, u, v = _seen(maps[n], a, b, c, inverse[d, y, x], _NEAREST, width, height)
                    if not inside:
                        continue
                    corners = _corners(u, v, width, height)
                    x0, x1, y0, y1, w00, w01, w10, w11 = corners
                    _read(features[index[n]], corners, found)
                    sent = grad_others[n]
                    for k in range(groups * size):
                        grad_own[y, x, k] += weight[k] * found[k]
                        back = weight[k] * features[view, y, x, k]
                        sent[y0, x0, k] += w00 * back
                        sent[y0, x1, k] += w01 * back
                        sent[y1, x0, k] += w10 * back
                        sent[y1, x1, k] += w11 * back


@_jit
def look(features, inverse, own, points, other, maps, nearest_m, tolerance, sizes, out):  # type: ignore[no-untyped-def]
    """What a view says of places that have moved; see `motion.look_torch`."""
    rows, columns = features.shape[1:3]
    height, width = inverse.shape[1:3]
    stride = np.float32(height // rows)
    groups, size = len(sizes[0]), len(sizes[1])
    learned = groups * size
    found = np.empty(learned + TEXTURE, np.float32)
    for i in range(points.shape[0]):
        surfaces, m = inverse[other[i]], maps[other[i]]
        for h in range(points.shape[1]):
            a, b, c = points[i, h, 0], points[i, h, 1], points[i, h, 2]
            inside, depth, x, y = _seen(m, a, b, c, ONE, nearest_m, width, height)
            if not inside:
                continue
            x0, x1, y0, y1, w00, w01, w10, w11 = _corners(x, y, width, height)
            surface = w00 * surfaces[y0, x0] + w01 * surfaces[y0, x1] + w10 * surfaces[y1, x0] + w11 * surfaces[y1, x1]
            off = np.log(depth * max(surface, np.float32(1e-3))) / tolerance
            _read(features[other[i]], _corners(x / stride, y / stride, columns, rows), found)
            for g in range(groups):
                out[i, h, g] = _product(own[i], found, g * size, size)
            out[i, h, groups] = _product(own[i], found, learned, TEXTURE)
            out[i, h, groups + 1] = np.exp(-off * off)
            out[i, h, groups + 2] = ONE
