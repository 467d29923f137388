"""Photometric cost of a plane sweep: Numba kernels, one plane of depth at a time.

A pixel (u, v) of the reference at inverse depth w is seen by a neighbour at q = A [u, v, 1] + w b with
A = K_n R K_r^-1 and b = K_n t. Each plane warps the neighbour onto the reference with subpixel sampling and
correlates small windows (zero-mean, normalized: a change of exposure does not matter).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float32]

MAX_NEIGHBOURS = 8


def epipolar_terms(reference: Camera, neighbours: list[Camera]) -> tuple[Floats, Floats]:
    """A [N, 3, 3] and b [N, 3] of the module's formula, float32."""
    inverse_k = np.linalg.inv(reference.K)
    a, b = np.empty((len(neighbours), 3, 3), np.float32), np.empty((len(neighbours), 3), np.float32)
    for i, camera in enumerate(neighbours):
        neighbour_from_reference = camera.cam_from_world @ reference.world_from_cam
        a[i] = camera.K @ neighbour_from_reference[:3, :3] @ inverse_k
        b[i] = camera.K @ neighbour_from_reference[:3, 3]
    return a, b


@njit(nogil=True, cache=True, fastmath=True)
def box_mean(values, radius, scratch, out):  # type: ignore[no-untyped-def]
    """Mean of [H, W] over (2 radius + 1)^2 windows, smaller at the border; rows of plain sums vectorize."""
    height, width = values.shape
    for y in range(height):
        y0, y1 = max(y - radius, 0), min(y + radius, height - 1)
        for x in range(width):
            scratch[x] = values[y0, x]
        for k in range(y0 + 1, y1 + 1):
            for x in range(width):
                scratch[x] += values[k, x]
        scale = np.float32(1.0 / ((y1 - y0 + 1) * (2 * radius + 1)))
        for x in range(radius, width - radius):
            total = scratch[x - radius]
            for k in range(1 - radius, radius + 1):
                total += scratch[x + k]
            out[y, x] = total * scale
        for side in range(2):
            for i in range(radius):
                x = i if side == 0 else width - 1 - i
                x0, x1 = max(x - radius, 0), min(x + radius, width - 1)
                total = np.float32(0.0)
                for k in range(x0, x1 + 1):
                    total += scratch[k]
                out[y, x] = total / np.float32((y1 - y0 + 1) * (x1 - x0 + 1))


@njit(nogil=True, cache=True, fastmath=True)
def warp(image, a, b, inverse_depth, out, valid):  # type: ignore[no-untyped-def]
    """Sample `image` [H', W'] where it sees the reference's pixels at `inverse_depth`; fills out, valid [H, W]."""
    height, width = out.shape
    rows, columns = image.shape
    for y in range(height):
        v = np.float32(y + 0.5)
        qx0 = a[0, 1] * v + a[0, 2] + inverse_depth * b[0]
        qy0 = a[1, 1] * v + a[1, 2] + inverse_depth * b[1]
        qz0 = a[2, 1] * v + a[2, 2] + inverse_depth * b[2]
        for x in range(width):
            u = np.float32(x + 0.5)
            qz = qz0 + a[2, 0] * u
            inside = qz > np.float32(1e-3)
            scale = np.float32(1.0) / max(qz, np.float32(1e-3))
            px = (qx0 + a[0, 0] * u) * scale - np.float32(0.5)
            py = (qy0 + a[1, 0] * u) * scale - np.float32(0.5)
            inside = inside and px > np.float32(-0.5) and px < np.float32(columns - 0.5)
            inside = inside and py > np.float32(-0.5) and py < np.float32(rows - 0.5)
            px = min(max(px, np.float32(0.0)), np.float32(columns - 1.001))
            py = min(max(py, np.float32(0.0)), np.float32(rows - 1.001))
            ix, iy = int(px), int(py)
            fx, fy = px - np.float32(ix), py - np.float32(iy)
            top = image[iy, ix] + fx * (image[iy, ix + 1] - image[iy, ix])
            bottom = image[iy + 1, ix] + fx * (image[iy + 1, ix + 1] - image[iy + 1, ix])
            out[y, x] = top + fy * (bottom - top)
            valid[y, x] = inside


@njit(nogil=True, cache=True, fastmath=True)
def plane_cost(  # type: ignore[no-untyped-def]
    reference,  # [H, W] float32
    mean,  # [H, W] box mean of the reference
    variance,  # [H, W] box variance of the reference
    neighbours,  # [N, H', W'] float32
    a,  # [N, 3, 3]
    b,  # [N, 3]
    inverse_depth,
    radius,
    noise,  # variance below which a window has no texture
    unseen,  # cost of being out of every neighbour's view
    out,  # [H, W] cost in [0, 1]
):
    """Cost of one plane: 1 - ZNCC, cut at 1, averaged over the better half of the neighbours that see the pixel.

    The better half, because what one side hides the other mostly sees. A share `unseen` is added for neighbours that
    do not see the pixel at this depth: the best of fewer trials is low by chance more often.
    """
    height, width = reference.shape
    count = neighbours.shape[0]
    warped, product = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    valid = np.empty((height, width), np.bool_)
    mean_n, mean_nn, mean_rn = np.empty_like(warped), np.empty_like(warped), np.empty_like(warped)
    scratch = np.empty(width, np.float32)
    costs = np.empty((count, height, width), np.float32)
    for n in range(count):
        warp(neighbours[n], a[n], b[n], inverse_depth, warped, valid)
        box_mean(warped, radius, scratch, mean_n)
        for y in range(height):
            for x in range(width):
                product[y, x] = warped[y, x] * warped[y, x]
        box_mean(product, radius, scratch, mean_nn)
        for y in range(height):
            for x in range(width):
                product[y, x] = warped[y, x] * reference[y, x]
        box_mean(product, radius, scratch, mean_rn)
        for y in range(height):
            for x in range(width):
                covariance = mean_rn[y, x] - mean[y, x] * mean_n[y, x]
                spread = max(mean_nn[y, x] - mean_n[y, x] * mean_n[y, x], np.float32(0.0)) + noise
                zncc = covariance / math.sqrt(spread * (variance[y, x] + noise))
                cost = min(np.float32(1.0) - zncc, np.float32(1.0))
                costs[n, y, x] = cost if valid[y, x] else np.float32(2.0)
    seen = np.empty(count, np.float32)
    for y in range(height):
        for x in range(width):
            total = 0
            for n in range(count):
                cost = costs[n, y, x]
                if cost < np.float32(1.5):
                    i = total
                    while i > 0 and seen[i - 1] > cost:
                        seen[i] = seen[i - 1]
                        i -= 1
                    seen[i] = cost
                    total += 1
            if total == 0:
                out[y, x] = np.float32(1.0)
                continue
            half = (total + 1) // 2
            best = np.float32(0.0)
            for i in range(half):
                best += seen[i]
            lost = np.float32(count - total) / np.float32(count)
            out[y, x] = min(best / np.float32(half) + unseen * lost, np.float32(1.0))
