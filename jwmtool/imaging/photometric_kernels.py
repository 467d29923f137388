"""Numba kernels of the photometric loss: one color channel at a time, value and gradient together."""

from __future__ import annotations

import numba
import numpy as np

RADIUS = 5
WINDOW = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / 1.5) ** 2).astype(np.float32)
_C1, _C2, _TWO = np.float32(0.01**2), np.float32(0.03**2), np.float32(2.0)

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def _convolve(source, padded, middle, result):
    """Separable window over source [H, W], zero outside; `padded` [W + 10] and `middle` [H + 10, W] are scratch."""
    height, width = source.shape
    padded[:] = np.float32(0.0)
    middle[:RADIUS] = np.float32(0.0)
    middle[height + RADIUS :] = np.float32(0.0)
    for row in range(height):
        padded[RADIUS : RADIUS + width] = source[row]
        for col in range(width):
            value = np.float32(0.0)
            for k in range(2 * RADIUS + 1):
                value += WINDOW[k] * padded[col + k]
            middle[row + RADIUS, col] = value
    for row in range(height):
        for col in range(width):
            value = np.float32(0.0)
            for k in range(2 * RADIUS + 1):
                value += WINDOW[k] * middle[row + k, col]
            result[row, col] = value


@_jit
def channel_loss(x, y, weights, norm_rows, norm_columns, ssim_weight, grad):
    """Loss of one channel [H, W] and its gradient; `weights` [H, W] sums to the channel's share."""
    height, width = x.shape
    padded = np.empty(width + 2 * RADIUS, np.float32)
    middle = np.empty((height + 2 * RADIUS, width), np.float32)
    maps = np.empty((5, height, width), np.float32)
    product = np.empty((height, width), np.float32)
    for k in range(5):
        for row in range(height):
            for col in range(width):
                a, b = x[row, col], y[row, col]
                if k == 0:
                    product[row, col] = a
                elif k == 1:
                    product[row, col] = b
                elif k == 2:
                    product[row, col] = a * a
                elif k == 3:
                    product[row, col] = b * b
                else:
                    product[row, col] = a * b
        _convolve(product, padded, middle, maps[k])
    loss = 0.0
    for row in range(height):
        part = np.float32(0.0)
        for col in range(width):
            inverse = np.float32(1.0) / (norm_rows[row] * norm_columns[col])
            mx, my = maps[0, row, col] * inverse, maps[1, row, col] * inverse
            sxx = maps[2, row, col] * inverse - mx * mx
            syy = maps[3, row, col] * inverse - my * my
            sxy = maps[4, row, col] * inverse - mx * my
            d1, d2 = np.float32(1.0) / (mx * mx + my * my + _C1), np.float32(1.0) / (sxx + syy + _C2)
            light, contrast = (_TWO * mx * my + _C1) * d1, (_TWO * sxy + _C2) * d2
            w = ssim_weight * weights[row, col]
            part += w * (np.float32(1.0) - light * contrast)
            g_xx, g_xy = light * contrast * d2, -_TWO * light * d2
            g_mx = -contrast * _TWO * (my - light * mx) * d1 - _TWO * mx * g_xx - my * g_xy
            maps[0, row, col] = w * inverse * g_mx
            maps[1, row, col] = w * inverse * g_xx
            maps[2, row, col] = w * inverse * g_xy
        loss += part
    for k in range(3):
        _convolve(maps[k], padded, middle, product)
        maps[k] = product
    for row in range(height):
        part = np.float32(0.0)
        for col in range(width):
            difference = x[row, col] - y[row, col]
            w = (np.float32(1.0) - ssim_weight) * weights[row, col]
            part += w * abs(difference)
            structure = maps[0, row, col] + _TWO * x[row, col] * maps[1, row, col] + y[row, col] * maps[2, row, col]
            grad[row, col] = structure + w * np.sign(difference)
        loss += part
    return loss
