"""Numba kernels of the CPU rasterizer: project, bin, composite, and their gradients.

The maths and thresholds are gsplat's (EWA splatting with eps2d, alpha cut at 1/255 and clamp at 0.999, stop at a
transmittance of 1e-4). Projection runs in float64, compositing in float32 on tiles of TILE x TILE pixels, whose
columns the compiler turns into vectors; no thread ever adds to a number of another thread, so results do not depend
on the number of threads.

The inverse 2D covariance is kept as its Cholesky factor, sigma = ((p dx + q dy)^2 + (r dy)^2) / 2, since the usual
conic loses needle-thin Gaussians to cancellation in float32.

One file on purpose: Numba's cache of a function does not notice changes in another file that it calls into.

Rows of `splats` [N, 12] float64: mean x, mean y, p, q, r, opacity, red, green, blue, depth, extent x, extent y
(pixels within which alpha can reach the cut; negative: not drawn).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from jwmtool.gaussians.ewa import ALPHA_MAX, ALPHA_MIN, EPS2D, T_STOP

TILE = 16
NUM_GRADS = 10  # mean x, y, p, q, r, opacity, red, green, blue, depth

_F = np.float32
_CUT, _CLAMP, _STOP = _F(ALPHA_MIN), _F(ALPHA_MAX), _F(T_STOP)
_LOG2E, _HALF, _ONE, _ZERO, _LOWEST = _F(math.log2(math.e)), _F(0.5), _F(1.0), _F(0.0), _F(-126.0)
_C1, _C2, _C3, _C4, _C5, _C6 = (_F(math.log(2.0) ** k / math.factorial(k)) for k in range(1, 7))

_jit = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@intrinsic
def _float_from_bits(typing_context, bits):  # type: ignore[no-untyped-def]
    """Reinterpret an int32 as a float32."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@_jit
def _exp_negative(sigma):
    """exp(-sigma) for sigma >= 0 with a relative error near 2e-7; straight-line, so that loops vectorize."""
    power = max(-sigma * _LOG2E, _LOWEST)
    whole = np.int32(power - _HALF)
    f = power - _F(whole)
    poly = _ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return poly * _float_from_bits((whole + np.int32(127)) << np.int32(23))


@_jit
def _rotation(w, x, y, z):
    """Rows of the rotation of a unit quaternion."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@_jit
def _frame(g, means, quats, scales, view):
    """Camera-space mean (3) and M = R_view R_gaussian diag(scales) (3x3 flattened), with the quaternion's norm."""
    mx, my, mz = np.float64(means[g, 0]), np.float64(means[g, 1]), np.float64(means[g, 2])
    x = view[0, 0] * mx + view[0, 1] * my + view[0, 2] * mz + view[0, 3]
    y = view[1, 0] * mx + view[1, 1] * my + view[1, 2] * mz + view[1, 3]
    z = view[2, 0] * mx + view[2, 1] * my + view[2, 2] * mz + view[2, 3]
    w, i, j, k = np.float64(quats[g, 0]), np.float64(quats[g, 1]), np.float64(quats[g, 2]), np.float64(quats[g, 3])
    norm = max(math.sqrt(w * w + i * i + j * j + k * k), 1e-12)
    return x, y, z, _rotation(w / norm, i / norm, j / norm, k / norm), norm


@_jit
def _footprint(x, y, z, rotation, g, scales, view, fx, fy, limits):
    """Rows of A = J R_view R diag(scales) [2, 3]; with them cov2d = A A^T. Also the clamped x, y of the Jacobian."""
    tx = z * min(limits[1], max(-limits[0], x / z))
    ty = z * min(limits[3], max(-limits[2], y / z))
    j00, j02, j11, j12 = fx / z, -fx * tx / (z * z), fy / z, -fy * ty / (z * z)
    # T = J R_view, then its rows times R diag(scales)
    t0 = (j00 * view[0, 0] + j02 * view[2, 0], j00 * view[0, 1] + j02 * view[2, 1], j00 * view[0, 2] + j02 * view[2, 2])
    t1 = (j11 * view[1, 0] + j12 * view[2, 0], j11 * view[1, 1] + j12 * view[2, 1], j11 * view[1, 2] + j12 * view[2, 2])
    s0, s1, s2 = np.float64(scales[g, 0]), np.float64(scales[g, 1]), np.float64(scales[g, 2])
    r = rotation
    a0 = (
        (t0[0] * r[0][0] + t0[1] * r[1][0] + t0[2] * r[2][0]) * s0,
        (t0[0] * r[0][1] + t0[1] * r[1][1] + t0[2] * r[2][1]) * s1,
        (t0[0] * r[0][2] + t0[1] * r[1][2] + t0[2] * r[2][2]) * s2,
    )
    a1 = (
        (t1[0] * r[0][0] + t1[1] * r[1][0] + t1[2] * r[2][0]) * s0,
        (t1[0] * r[0][1] + t1[1] * r[1][1] + t1[2] * r[2][1]) * s1,
        (t1[0] * r[0][2] + t1[1] * r[1][2] + t1[2] * r[2][2]) * s2,
    )
    return a0, a1, t0, t1, tx, ty


@_jit
def project(
    begin, end, means, quats, scales, opacities, colors, view, intrinsics, limits, width, height, near, splats, counts
):
    """Fill `splats` and the number of tiles touched (`counts`) for Gaussians begin..end.

    `intrinsics` is (fx, fy, cx, cy); `limits` bounds -x/z, x/z, -y/z, y/z in the Jacobian (gsplat's 1.3 x view).
    """
    fx, fy, cx, cy = intrinsics
    for g in range(begin, end):
        counts[g] = 0
        splats[g, 10] = -1.0
        opacity = np.float64(opacities[g])
        if not opacity >= ALPHA_MIN:
            continue
        x, y, z, rotation, _ = _frame(g, means, quats, scales, view)
        if not z >= near:
            continue
        a0, a1, _, _, _, _ = _footprint(x, y, z, rotation, g, scales, view, fx, fy, limits)
        a = a0[0] * a0[0] + a0[1] * a0[1] + a0[2] * a0[2] + EPS2D
        b = a0[0] * a1[0] + a0[1] * a1[1] + a0[2] * a1[2]
        c = a1[0] * a1[0] + a1[1] * a1[1] + a1[2] * a1[2] + EPS2D
        det = a * c - b * b
        if not det > 0.0:
            continue
        mx, my = fx * x / z + cx, fy * y / z + cy
        extent = math.sqrt(2.0 * math.log(opacity / ALPHA_MIN)) + 1e-3
        ex, ey = extent * math.sqrt(a), extent * math.sqrt(c)
        if not (mx + ex > 0.0 and mx - ex < width and my + ey > 0.0 and my - ey < height):
            continue
        splats[g, 0], splats[g, 1] = mx, my
        splats[g, 2] = math.sqrt(c / det)
        splats[g, 3] = -b / math.sqrt(c * det)
        splats[g, 4] = 1.0 / math.sqrt(c)
        splats[g, 5] = opacity
        splats[g, 6], splats[g, 7], splats[g, 8] = colors[g, 0], colors[g, 1], colors[g, 2]
        splats[g, 9] = z
        splats[g, 10], splats[g, 11] = ex, ey
        x0, x1, y0, y1 = _tile_range(mx, my, ex, ey, width, height)
        counts[g] = (x1 - x0) * (y1 - y0)


@_jit
def _tile_range(mx, my, ex, ey, width, height):
    """Tiles [x0, x1) x [y0, y1) that the box about a splat touches."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    x0 = int(max(0.0, math.floor((mx - ex) / TILE)))
    y0 = int(max(0.0, math.floor((my - ey) / TILE)))
    x1 = int(min(np.float64(tiles_x), math.floor((mx + ex) / TILE) + 1.0))
    y1 = int(min(np.float64(tiles_y), math.floor((my + ey) / TILE) + 1.0))
    return x0, max(x1, x0), y0, max(y1, y0)


@_jit
def bin_tiles(order, splats, first_slot, width, height, tile_start, isect_splat, isect_slot):
    """List the splats of every tile front to back.

    `order` holds the drawn Gaussians front to back; slot first_slot[g] + k names Gaussian g's k-th tile. Fills
    tile_start [tiles + 1], isect_splat [I] and isect_slot [I].
    """
    tiles_x = (width + TILE - 1) // TILE
    tile_start[:] = 0
    for g in order:
        x0, x1, y0, y1 = _tile_range(splats[g, 0], splats[g, 1], splats[g, 10], splats[g, 11], width, height)
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                tile_start[ty * tiles_x + tx + 1] += 1
    for tile in range(len(tile_start) - 1):
        tile_start[tile + 1] += tile_start[tile]
    cursor = tile_start[:-1].copy()
    for g in order:
        x0, x1, y0, y1 = _tile_range(splats[g, 0], splats[g, 1], splats[g, 10], splats[g, 11], width, height)
        slot = first_slot[g]
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                tile = ty * tiles_x + tx
                isect_splat[cursor[tile]] = g
                isect_slot[cursor[tile]] = slot
                cursor[tile] += 1
                slot += 1


@_jit
def _rows(my, ey, top):
    """Rows [first, last) of the tile whose pixel centres lie within `ey` of the splat."""
    first = max(0.0, math.ceil(my - ey - 0.5 - top))
    last = min(np.float64(TILE), math.floor(my + ey - 0.5 - top) + 1.0)
    return int(first), int(last)


@_jit
def composite(tiles, tile_start, isect_splat, splats, width, height, out):
    """Blend the splats of `tiles` front to back into out [H, W, 5]: red, green, blue, depth, alpha (accumulated)."""
    tiles_x = (width + TILE - 1) // TILE
    state = np.empty((6, TILE, TILE), np.float32)  # live transmittance (0: done), transmittance, r, g, b, depth
    dx = np.empty(TILE, np.float32)
    for tile in tiles:
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        state[:2] = _ONE
        state[2:] = _ZERO
        for n in range(tile_start[tile], tile_start[tile + 1]):
            if (n - tile_start[tile]) % 32 == 31 and not state[0].any():
                break
            s = splats[isect_splat[n]]
            p, q, r, opacity = _F(s[2]), _F(s[3]), _F(s[4]), _F(s[5])
            red, green, blue, depth = _F(s[6]), _F(s[7]), _F(s[8]), _F(s[9])
            offset_x, offset_y = left + 0.5 - s[0], top + 0.5 - s[1]
            for col in range(TILE):
                dx[col] = p * _F(offset_x + col)
            first, last = _rows(s[1], s[11], top)
            for row in range(first, last):
                dy = _F(offset_y + row)
                qdy, rdy = q * dy, r * dy
                base = _HALF * rdy * rdy
                for col in range(TILE):
                    u = dx[col] + qdy
                    alpha = min(_CLAMP, opacity * _exp_negative(base + _HALF * u * u))
                    live = state[0, row, col]
                    after = live * (_ONE - alpha)
                    seen = alpha >= _CUT
                    drawn = seen and after > _STOP
                    weight = alpha * live if drawn else _ZERO
                    state[0, row, col] = after if drawn else (_ZERO if seen else live)
                    state[1, row, col] = after if drawn else state[1, row, col]
                    state[2, row, col] += weight * red
                    state[3, row, col] += weight * green
                    state[4, row, col] += weight * blue
                    state[5, row, col] += weight * depth
        for row in range(min(TILE, height - top)):
            for col in range(min(TILE, width - left)):
                for channel in range(4):
                    out[top + row, left + col, channel] = state[2 + channel, row, col]
                out[top + row, left + col, 4] = _ONE - state[1, row, col]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
def _total(values):
    """Sum of TILE numbers, in the order that suits the machine's vectors."""
    total = _ZERO
    for col in range(TILE):
        total += values[col]
    return total


@_jit
def composite_backward(tiles, tile_start, isect_splat, isect_slot, splats, width, height, out, grad_out, grads):
    """Gradients of `composite`: fills grads [I, NUM_GRADS] by slot, for the splats of `tiles`.

    Runs front to back again: with c = grad_out . channels of a splat, d loss / d alpha_i = T_i c_i - (sum of w_j c_j
    behind i) / (1 - alpha_i), and what lies behind is the pixel's total less what came so far.
    """
    tiles_x = (width + TILE - 1) // TILE
    state = np.empty((2, TILE, TILE), np.float32)  # live transmittance, what is still to come of the pixel's total
    upstream = np.empty((5, TILE, TILE), np.float32)
    dx = np.empty(TILE, np.float32)
    sums = np.empty((9, TILE), np.float32)  # per column: g u, g u dy, g, g dy, g dy^2, r, g, b, depth
    for tile in tiles:
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        state[0] = _ONE
        state[1] = _ZERO
        upstream[:] = _ZERO
        for row in range(min(TILE, height - top)):
            for col in range(min(TILE, width - left)):
                total = 0.0
                for channel in range(5):
                    value = grad_out[top + row, left + col, channel]
                    upstream[channel, row, col] = value
                    total += np.float64(value) * np.float64(out[top + row, left + col, channel])
                state[1, row, col] = total
        for n in range(tile_start[tile], tile_start[tile + 1]):
            if (n - tile_start[tile]) % 32 == 31 and not state[0].any():
                grads[isect_slot[n : tile_start[tile + 1]]] = _ZERO
                break
            s = splats[isect_splat[n]]
            p, q, r, opacity = _F(s[2]), _F(s[3]), _F(s[4]), _F(s[5])
            red, green, blue, depth = _F(s[6]), _F(s[7]), _F(s[8]), _F(s[9])
            offset_x, offset_y = left + 0.5 - s[0], top + 0.5 - s[1]
            for col in range(TILE):
                dx[col] = p * _F(offset_x + col)
            sums[:] = _ZERO
            first, last = _rows(s[1], s[11], top)
            for row in range(first, last):
                dy = _F(offset_y + row)
                qdy, rdy = q * dy, r * dy
                base = _HALF * rdy * rdy
                for col in range(TILE):
                    u = dx[col] + qdy
                    falloff = _exp_negative(base + _HALF * u * u)
                    raw = opacity * falloff
                    alpha = min(_CLAMP, raw)
                    live = state[0, row, col]
                    after = live * (_ONE - alpha)
                    seen = alpha >= _CUT
                    drawn = seen and after > _STOP
                    weight = alpha * live if drawn else _ZERO
                    state[0, row, col] = after if drawn else (_ZERO if seen else live)
                    up_r, up_g, up_b = upstream[0, row, col], upstream[1, row, col], upstream[2, row, col]
                    up_d = upstream[3, row, col]
                    shade = red * up_r + green * up_g + blue * up_b + depth * up_d + upstream[4, row, col]
                    behind = state[1, row, col] - weight * shade
                    state[1, row, col] = behind
                    grad_alpha = live * shade - behind / (_ONE - alpha)
                    grad_alpha = grad_alpha if (drawn and raw <= _CLAMP) else _ZERO
                    grad_sigma = -raw * grad_alpha
                    gu = grad_sigma * u
                    sums[0, col] += gu
                    sums[1, col] += gu * dy
                    sums[2, col] += grad_sigma
                    sums[3, col] += grad_sigma * dy
                    sums[4, col] += grad_sigma * dy * dy
                    sums[5, col] += weight * up_r
                    sums[6, col] += weight * up_g
                    sums[7, col] += weight * up_b
                    sums[8, col] += weight * up_d
            for col in range(TILE):
                dx[col] = sums[0, col] * _F(offset_x + col)
            g = grads[isect_slot[n]]
            g_u, g_dy = _total(sums[0]), _total(sums[3])
            g[0] = -p * g_u
            g[1] = -(q * g_u + r * r * g_dy)
            g[2] = _total(dx)
            g[3] = _total(sums[1])
            g[4] = r * _total(sums[4])
            g[5] = -_total(sums[2]) / opacity
            for k in range(4):
                g[6 + k] = _total(sums[5 + k])


@_jit
def project_backward(
    begin, end, means, quats, scales, view, intrinsics, limits, splats, first_slot, counts, grads,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_view,
):  # fmt: skip
    """Sum the slots of Gaussians begin..end and carry their gradients to the inputs; adds to grad_view [3, 4]."""
    fx, fy = intrinsics[0], intrinsics[1]
    total = np.empty(NUM_GRADS, np.float64)
    grad_r = np.empty((3, 3), np.float64)
    gt0, gt1 = np.empty(3, np.float64), np.empty(3, np.float64)
    for g in range(begin, end):
        if counts[g] == 0:
            continue
        total[:] = 0.0
        for slot in range(first_slot[g], first_slot[g] + counts[g]):
            for k in range(NUM_GRADS):
                total[k] += grads[slot, k]
        grad_opacities[g] = total[5]
        for k in range(3):
            grad_colors[g, k] = total[6 + k]

        x, y, z, rotation, norm = _frame(g, means, quats, scales, view)
        a0, a1, t0, t1, tx, ty = _footprint(x, y, z, rotation, g, scales, view, fx, fy, limits)
        # Cholesky factor -> conic (p^2 = A, p q = B, q^2 + r^2 = C) -> cov2d
        p, q, r = splats[g, 2], splats[g, 3], splats[g, 4]
        grad_c = total[4] / (2.0 * r)
        grad_q = total[3] - total[4] * q / r
        grad_b = grad_q / p
        grad_a = (total[2] - grad_q * q / p) / (2.0 * p)
        ca, cb, cc = p * p, p * q, q * q + r * r
        # d loss / d cov = -conic G conic with G = [[grad_a, grad_b / 2], [grad_b / 2, grad_c]]
        h00, h01 = ca * grad_a + cb * grad_b / 2, ca * grad_b / 2 + cb * grad_c
        h10, h11 = cb * grad_a + cc * grad_b / 2, cb * grad_b / 2 + cc * grad_c
        v00, v01, v11 = -(h00 * ca + h01 * cb), -(h00 * cb + h01 * cc), -(h10 * cb + h11 * cc)
        # cov = A A^T: d/dA = 2 V A, with A = T R diag(s)
        s0, s1, s2 = np.float64(scales[g, 0]), np.float64(scales[g, 1]), np.float64(scales[g, 2])
        b0 = (2 * (v00 * a0[0] + v01 * a1[0]), 2 * (v00 * a0[1] + v01 * a1[1]), 2 * (v00 * a0[2] + v01 * a1[2]))
        b1 = (2 * (v01 * a0[0] + v11 * a1[0]), 2 * (v01 * a0[1] + v11 * a1[1]), 2 * (v01 * a0[2] + v11 * a1[2]))
        s = (s0, s1, s2)
        gt0[:] = 0.0
        gt1[:] = 0.0
        for k in range(3):
            along = 0.0
            for i in range(3):
                gr = t0[i] * b0[k] + t1[i] * b1[k]
                along += gr * rotation[i][k]
                grad_r[i, k] = gr * s[k]
                gt0[i] += b0[k] * s[k] * rotation[i][k]
                gt1[i] += b1[k] * s[k] * rotation[i][k]
            grad_scales[g, k] = along
        # T = J R_view
        gj00 = gt0[0] * view[0, 0] + gt0[1] * view[0, 1] + gt0[2] * view[0, 2]
        gj02 = gt0[0] * view[2, 0] + gt0[1] * view[2, 1] + gt0[2] * view[2, 2]
        gj11 = gt1[0] * view[1, 0] + gt1[1] * view[1, 1] + gt1[2] * view[1, 2]
        gj12 = gt1[0] * view[2, 0] + gt1[1] * view[2, 1] + gt1[2] * view[2, 2]
        z2 = z * z
        gx, gy = fx / z * total[0], fy / z * total[1]
        gz = total[9] - fx * x / z2 * total[0] - fy * y / z2 * total[1]
        gz += -fx / z2 * gj00 - fy / z2 * gj11 + 2 * fx * tx / (z2 * z) * gj02 + 2 * fy * ty / (z2 * z) * gj12
        # tx is x inside the limits and proportional to z beyond them
        if -limits[0] <= x / z <= limits[1]:
            gx += -fx / z2 * gj02
        else:
            gz += -fx / z2 * gj02 * tx / z
        if -limits[2] <= y / z <= limits[3]:
            gy += -fy / z2 * gj12
        else:
            gz += -fy / z2 * gj12 * ty / z
        for k in range(3):
            grad_means[g, k] = view[0, k] * gx + view[1, k] * gy + view[2, k] * gz
            m = np.float64(means[g, k])
            j00, j02, j11, j12 = fx / z, -fx * tx / z2, fy / z, -fy * ty / z2
            grad_view[0, k] += gx * m + j00 * gt0[k]
            grad_view[1, k] += gy * m + j11 * gt1[k]
            grad_view[2, k] += gz * m + j02 * gt0[k] + j12 * gt1[k]
        grad_view[0, 3] += gx
        grad_view[1, 3] += gy
        grad_view[2, 3] += gz
        # rotation -> unit quaternion -> quaternion as given
        w, i, j, k = quats[g, 0] / norm, quats[g, 1] / norm, quats[g, 2] / norm, quats[g, 3] / norm
        e = grad_r
        gw = 2 * (i * (e[2, 1] - e[1, 2]) + j * (e[0, 2] - e[2, 0]) + k * (e[1, 0] - e[0, 1]))
        gi = 2 * (
            -2 * i * (e[1, 1] + e[2, 2]) + j * (e[0, 1] + e[1, 0]) + k * (e[0, 2] + e[2, 0]) + w * (e[2, 1] - e[1, 2])
        )
        gj = 2 * (
            i * (e[0, 1] + e[1, 0]) - 2 * j * (e[0, 0] + e[2, 2]) + k * (e[1, 2] + e[2, 1]) + w * (e[0, 2] - e[2, 0])
        )
        gk = 2 * (
            i * (e[0, 2] + e[2, 0]) + j * (e[1, 2] + e[2, 1]) - 2 * k * (e[0, 0] + e[1, 1]) + w * (e[1, 0] - e[0, 1])
        )
        radial = gw * w + gi * i + gj * j + gk * k
        grad_quats[g, 0] = (gw - radial * w) / norm
        grad_quats[g, 1] = (gi - radial * i) / norm
        grad_quats[g, 2] = (gj - radial * j) / norm
        grad_quats[g, 3] = (gk - radial * k) / norm
