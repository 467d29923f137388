"""Ray casting and shading of the synthetic street: Numba kernels over rows of pixels on a thread pool."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.device import num_threads
from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float64]

BOX, SPHERE, CYLINDER = 0, 1, 2
FACADE, CAR_BODY, CAR_CABIN, LEAVES, BARK, METAL = 0, 1, 2, 3, 4, 5
_GROUND, _SKY = -1, -2
_FAR_M = 1e6


def render(
    camera: Camera,
    solids: Floats,  # [P, 14] see street._Solids.table
    sun: Floats,  # [3] unit vector towards the sun
    radius_m: float,
    supersampling: int,
) -> tuple[Floats, Floats]:  # color [H, W, 3] in [0, 1], depth [H, W] metres along z, inf in the sky
    """Render color (averaged over supersampling^2 rays) and depth (at the pixel's centre)."""
    # Rays through sub-pixel corners: origin and three columns, so that the kernel needs no 3x3 inverse.
    rotation = camera.world_from_cam[:3, :3]
    inverse_k = np.linalg.inv(camera.K)
    matrix = np.ascontiguousarray(rotation @ inverse_k)
    origin = np.ascontiguousarray(camera.world_from_cam[:3, 3])
    bounds = np.sqrt((solids[:, 5:8] ** 2).sum(1))
    # Draw only what may be seen: a solid wholly behind the camera cannot be hit by a primary ray.
    ahead = (solids[:, 2:5] - origin) @ rotation[:, 2] > -bounds
    seen = np.ascontiguousarray(solids[ahead])
    color = np.zeros((camera.height, camera.width, 3))
    depth = np.zeros((camera.height, camera.width))
    workers = num_threads()
    edges = np.linspace(0, camera.height, 4 * workers + 1).astype(int)

    def band(i: int) -> None:
        _render_rows(
            edges[i], edges[i + 1], matrix, origin, camera.K[0, 0], seen, bounds[ahead], solids, bounds, sun, radius_m,
            supersampling, color, depth,
        )  # fmt: skip

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(band, range(len(edges) - 1)))
    return color, depth


@njit(nogil=True, cache=True)
def _render_rows(  # type: ignore[no-untyped-def]
    row0, row1, matrix, origin, focal_px, seen, seen_bounds, solids, bounds, sun, radius_m, supersampling, color, depth
):
    direction, normal, point, rgb = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    weight = 1.0 / (supersampling * supersampling)
    for row in range(row0, row1):
        for column in range(color.shape[1]):
            _ray(matrix, column + 0.5, row + 0.5, direction)
            # The direction has z_cam = 1, so the ray parameter IS the z-depth.
            t, index = _hit(origin, direction, seen, seen_bounds, normal)
            depth[row, column] = np.inf if index == _SKY else t
            for sample in range(supersampling * supersampling):
                u = column + (sample % supersampling + 0.5) / supersampling
                v = row + (sample // supersampling + 0.5) / supersampling
                _ray(matrix, u, v, direction)
                t, index = _hit(origin, direction, seen, seen_bounds, normal)
                length = math.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
                sky = _sky(direction, length)
                if index == _SKY:
                    rgb[:] = sky
                else:
                    for k in range(3):
                        point[k] = origin[k] + t * direction[k]
                    facing = -(normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]) / length
                    # Width of the pixel on the surface, the longer way: textures finer than this fade out.
                    footprint = t / focal_px / max(facing, 0.05)
                    if index == _GROUND:
                        _ground(point, radius_m, footprint, rgb)
                    else:
                        _solid(seen[index], point, normal, footprint, rgb)
                    _light(point, normal, sun, solids, bounds, t, sky, rgb)
                for k in range(3):
                    color[row, column, k] += weight * rgb[k]


@njit(nogil=True, cache=True)
def _ray(matrix, u, v, direction):  # type: ignore[no-untyped-def]
    for k in range(3):
        direction[k] = matrix[k, 0] * u + matrix[k, 1] * v + matrix[k, 2]


@njit(nogil=True, cache=True)
def _hit(origin, direction, solids, bounds, normal):  # type: ignore[no-untyped-def]
    """The nearest hit: ray parameter and solid (or _GROUND, _SKY); fills its normal."""
    best, index = _FAR_M, _SKY
    if direction[2] < -1e-9:
        best, index = -origin[2] / direction[2], _GROUND
        normal[0], normal[1], normal[2] = 0.0, 0.0, 1.0
        if best < 1e-6 or best > 2000.0:  # the ground ends: beyond it is haze
            best, index = _FAR_M, _SKY
    squared = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
    for i in range(solids.shape[0]):
        ox, oy, oz = origin[0] - solids[i, 2], origin[1] - solids[i, 3], origin[2] - solids[i, 4]
        along = -(ox * direction[0] + oy * direction[1] + oz * direction[2])
        if ox * ox + oy * oy + oz * oz - along * along / squared > bounds[i] * bounds[i]:
            continue
        c, s = solids[i, 8], solids[i, 9]
        x, y, z = c * ox + s * oy, -s * ox + c * oy, oz
        dx, dy, dz = c * direction[0] + s * direction[1], -s * direction[0] + c * direction[1], direction[2]
        t, nx, ny, nz = _hit_local(int(solids[i, 0]), x, y, z, dx, dy, dz, solids[i, 5], solids[i, 6], solids[i, 7])
        if 1e-6 < t < best:
            best, index = t, i
            normal[0], normal[1], normal[2] = c * nx - s * ny, s * nx + c * ny, nz
    return best, index


@njit(nogil=True, cache=True)
def _hit_local(shape, x, y, z, dx, dy, dz, hx, hy, hz):  # type: ignore[no-untyped-def]
    """First hit of a ray with a solid in its own frame: (t, normal), t = -1 for a miss."""
    if shape == BOX:
        near, far, axis, sign = -_FAR_M, _FAR_M, 0, 1.0
        for k in range(3):
            o = x if k == 0 else (y if k == 1 else z)
            d = dx if k == 0 else (dy if k == 1 else dz)
            h = hx if k == 0 else (hy if k == 1 else hz)
            if abs(d) < 1e-12:
                if abs(o) > h:
                    return -1.0, 0.0, 0.0, 0.0
                continue
            t0, t1 = (-h - o) / d, (h - o) / d
            if t0 > t1:
                t0, t1 = t1, t0
            if t0 > near:
                near, axis, sign = t0, k, (-1.0 if d > 0 else 1.0)
            far = min(far, t1)
        if near > far or near < 0:
            return -1.0, 0.0, 0.0, 0.0
        return near, sign * (axis == 0), sign * (axis == 1), sign * (axis == 2)
    flat = shape == CYLINDER  # a cylinder without caps is a sphere that ignores z, cut at its ends
    a = dx * dx + dy * dy + (0.0 if flat else dz * dz)
    b = x * dx + y * dy + (0.0 if flat else z * dz)
    c = x * x + y * y + (0.0 if flat else z * z) - hx * hx
    root = b * b - a * c
    if root < 0 or a < 1e-12:
        return -1.0, 0.0, 0.0, 0.0
    t = (-b - math.sqrt(root)) / a
    pz = z + t * dz
    if flat and abs(pz) > hz:
        return -1.0, 0.0, 0.0, 0.0
    return t, (x + t * dx) / hx, (y + t * dy) / hx, 0.0 if flat else pz / hx


@njit(nogil=True, cache=True)
def _hash(i, j, k, seed):  # type: ignore[no-untyped-def]
    h = (
        np.int64(i) * 374761393 + np.int64(j) * 668265263 + np.int64(k) * 2147483647 + np.int64(seed) * 974711
    ) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    h = ((h ^ (h >> 15)) * 97531461) & 0x7FFFFFFF
    return ((h ^ (h >> 12)) & 0xFFFF) / 65535.0


@njit(nogil=True, cache=True)
def _noise(x, y, z, seed):  # type: ignore[no-untyped-def]
    """Value noise in [-1, 1] with grain 1."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - i, y - j, z - k
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                w = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
                total += w * _hash(i + a, j + b, k + c, seed)
    return 2.0 * total - 1.0


@njit(nogil=True, cache=True)
def _grain(x, y, z, seed, finest_m, footprint):  # type: ignore[no-untyped-def]
    """Three octaves of noise, 9, 3 and 1 times `finest_m`; an octave finer than two pixels has faded out."""
    total, size = 0.0, finest_m * 9.0
    for octave in range(3):
        fade = min(max(size / (2.0 * footprint) - 0.5, 0.0), 1.0)
        if fade > 0:
            total += fade * _noise(x / size, y / size, z / size, seed + 31 * octave)
        size /= 3.0
    return total / 2.0


@njit(nogil=True, cache=True)
def _inside(value, low, high, footprint):  # type: ignore[no-untyped-def]
    """1 inside [low, high], 0 outside, a ramp one footprint wide between."""
    soft = max(footprint, 0.01)
    return min(max((value - low) / soft + 0.5, 0.0), 1.0) * min(max((high - value) / soft + 0.5, 0.0), 1.0)


@njit(nogil=True, cache=True)
def _mix(rgb, weight, r, g, b):  # type: ignore[no-untyped-def]
    rgb[0] += weight * (r - rgb[0])
    rgb[1] += weight * (g - rgb[1])
    rgb[2] += weight * (b - rgb[2])


@njit(nogil=True, cache=True)
def _ground(point, radius_m, footprint, rgb):  # type: ignore[no-untyped-def]
    """Road with lane marks, kerbs and pavement, in coordinates (s, d) along and across the bend."""
    x, y = point[0], radius_m - point[1]
    s, d = radius_m * math.atan2(x, y), radius_m - math.sqrt(x * x + y * y)
    wide = min(footprint, 4.0)
    rough = _grain(point[0], point[1], 0.0, 11, 0.12, footprint)
    shade = 0.30 + 0.09 * rough + 0.03 * _inside(abs(abs(d) - 1.7), -1.0, 0.35, 0.4)
    rgb[0], rgb[1], rgb[2] = shade, shade, shade * 1.03
    _mix(rgb, 0.35 * (_noise(s / 7.0, d / 2.2, 0.0, 5) > 0.35), 0.19, 0.19, 0.21)  # mended patches
    across = min(wide, 0.02 * math.sqrt(wide) + 0.01)  # marks run along the view: across it pixels are narrow
    dash = _inside((s / 6.0) % 1.0 * 6.0, 1.0, 4.0, wide)
    _mix(rgb, 0.85 * dash * _inside(abs(d), -1.0, 0.075, across), 0.88, 0.88, 0.86)
    _mix(rgb, 0.85 * _inside(abs(d), 3.30, 3.42, across), 0.82, 0.82, 0.80)
    _mix(rgb, _inside(abs(d), 5.45, 5.62, across), 0.62, 0.61, 0.58)  # kerb
    if abs(d) > 5.62:
        tile = 0.45 + 0.10 * rough
        _mix(rgb, 1.0, tile * 1.05, tile, tile * 0.93)
        joint = max(_inside((s / 1.2) % 1.0 * 1.2, 0.0, 0.07, wide), _inside((d / 1.2) % 1.0 * 1.2, 0.0, 0.07, wide))
        _mix(rgb, 0.35 * joint * min(0.6 / wide, 1.0), 0.25, 0.25, 0.24)


@njit(nogil=True, cache=True)
def _solid(solid, point, normal, footprint, rgb):  # type: ignore[no-untyped-def]
    """Surface color of one solid."""
    c, s, seed = solid[8], solid[9], int(solid[13])
    px, py = point[0] - solid[2], point[1] - solid[3]
    x, y, z = c * px + s * py, -s * px + c * py, point[2] - solid[4]
    material = int(solid[1])
    finest = 0.25 if material == FACADE else (0.1 if material == LEAVES else 0.12)
    rough = _grain(x + 37.0 * seed, y, z, seed, finest, footprint)
    strength = 0.9 if material == LEAVES else (0.12 if material in (CAR_BODY, CAR_CABIN) else 0.35)
    for k in range(3):
        rgb[k] = max(solid[10 + k] * (1.0 + strength * rough), 0.0)
    end = abs(c * normal[0] + s * normal[1]) > 0.5  # the face looks along the solid's x axis
    along = y if end else x
    if material == FACADE:
        _facade(along, point[2], solid[7] * 2.0, seed, footprint, rgb)
    elif material == CAR_BODY:
        if end:
            lamp = _inside(abs(y), 0.5, 0.8, footprint) * _inside(z, -0.05, 0.2, footprint)
            front = x > 0
            _mix(rgb, lamp, 0.9 if front else 0.6, 0.88 if front else 0.05, 0.8 if front else 0.05)
            plate = _inside(abs(y), -1.0, 0.26, footprint) * _inside(z, -0.2, -0.06, footprint)
            _mix(rgb, plate, 0.85, 0.85, 0.8)
        else:
            radius = math.sqrt((abs(x) - 1.3) ** 2 + (z + 0.23) ** 2)
            _mix(rgb, _inside(radius, -1.0, 0.31, footprint), 0.06, 0.06, 0.06)
            _mix(rgb, _inside(radius, -1.0, 0.17, footprint), 0.5, 0.5, 0.52)
            _mix(rgb, 0.6 * _inside(abs(x - 0.2), -1.0, 0.02, footprint), 0.05, 0.05, 0.05)
        _mix(rgb, 0.7 * _inside(z, -0.5, -0.3, footprint), 0.05, 0.05, 0.05)
    elif material == CAR_CABIN and abs(normal[2]) < 0.5:
        glass = _inside(z, -0.22, 0.17, footprint)
        post = 0.0 if end else _inside(abs(x), -1.0, 0.05, footprint)
        _mix(rgb, glass * (1.0 - post), 0.13, 0.16, 0.19)


@njit(nogil=True, cache=True)
def _facade(along, z, height, seed, footprint, rgb):  # type: ignore[no-untyped-def]
    """Windows with frames and curtains, a plinth, a cornice, doors on the ground floor."""
    cell, storey = 2.3 + 0.1 * (seed % 5), 2.9
    column, floor = math.floor(along / cell), math.floor(z / storey)
    u, v = along - column * cell - cell / 2, z - floor * storey
    door = floor == 0 and _hash(column, 0, 7, seed) < 0.3
    low, high, half = (0.0, 2.2, 0.55) if door else (0.85, 2.3, 0.58)
    if z < height - 0.9 - (storey - high):
        frame = _inside(abs(u), -1.0, half + 0.12, footprint) * _inside(v, low - 0.12, high + 0.12, footprint)
        _mix(rgb, 0.8 * frame, 0.86, 0.84, 0.80)
        glass = _inside(abs(u), -1.0, half, footprint) * _inside(v, low, high, footprint)
        tone = _hash(column, floor, 3, seed)
        if door:
            _mix(rgb, glass, 0.28 + 0.3 * tone, 0.2, 0.14)
        else:
            curtain = 0.55 * _inside(v, high - 0.2 - 0.9 * tone, high, 0.1)
            _mix(rgb, glass, 0.16 + curtain, 0.19 + curtain, 0.23 + curtain)
            bar = max(_inside(abs(u), -1.0, 0.04, footprint), _inside(abs(v - 1.75), -1.0, 0.04, footprint))
            _mix(rgb, 0.8 * glass * bar, 0.8, 0.78, 0.74)
    _mix(rgb, 0.6 * _inside(z, -1.0, 0.5, footprint), 0.36, 0.34, 0.32)
    _mix(rgb, 0.6 * _inside(z, height - 0.45, height + 1.0, footprint), 0.42, 0.28, 0.22)


@njit(nogil=True, cache=True)
def _light(point, normal, sun, solids, bounds, t, sky, rgb):  # type: ignore[no-untyped-def]
    """Sun with shadows, sky light from above, a little haze."""
    facing = normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2]
    lit = 0.0
    if facing > 0:
        start = np.empty(3)
        for k in range(3):
            start[k] = point[k] + 1e-3 * normal[k]
        if start[2] < 1e-3:
            start[2] = 1e-3
        unused = np.empty(3)
        _, index = _hit(start, sun, solids, bounds, unused)
        lit = facing if index == _SKY else 0.0
    ambient = 0.52 + 0.14 * normal[2]
    haze = 1.0 - math.exp(-t / 600.0)
    for k in range(3):
        warm = 0.85 if k == 0 else (0.80 if k == 1 else 0.70)
        shaded = rgb[k] * (ambient + warm * lit)
        rgb[k] = shaded + haze * (sky[k] - shaded)


@njit(nogil=True, cache=True)
def _sky(direction, length):  # type: ignore[no-untyped-def]
    up = max(direction[2] / length, 0.0)
    cloud = 0.0
    if up > 0.02:
        x, y = direction[0] / length / (up + 0.25), direction[1] / length / (up + 0.25)
        cloud = max(_noise(2.0 * x, 2.0 * y, 0.0, 77) + 0.4 * _noise(4.5 * x, 4.5 * y, 0.0, 78), 0.0) * min(
            4.0 * up, 1.0
        )
    blue = min(up * 1.6, 1.0)
    return (
        0.86 - 0.42 * blue + 0.25 * cloud * blue,
        0.90 - 0.28 * blue + 0.18 * cloud * blue,
        0.95 - 0.08 * blue + 0.03 * cloud * blue,
    )
