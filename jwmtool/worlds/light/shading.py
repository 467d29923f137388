"""Light on surfaces, haze before them and the sky behind: Numba kernels (in one file, as they call each other).

Radiances are in the atmosphere's units; a camera's exposure comes later. `air` packs an Atmosphere for the kernels,
see `pack_atmosphere`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.worlds.description import Atmosphere

Floats = NDArray[np.float64]

_SUN, _SUN_COLOR, _ZENITH, _HORIZON, _BOUNCE, _COVER, _CLOUD_SEED, _HAZE, _MILK = 0, 3, 6, 9, 12, 15, 16, 17, 18
# Sky light is felt along these directions (unit, up): four for each sample in the sun, all eight without.
_AZIMUTHS = np.radians(20.0 + 45.0 * np.array([0, 2, 4, 6, 1, 3, 5, 7]))
_ELEVATIONS = np.radians(np.array([28.0, 62.0, 40.0, 75.0, 55.0, 33.0, 68.0, 22.0]))
SKY_PROBES = np.stack(
    [np.cos(_ELEVATIONS) * np.cos(_AZIMUTHS), np.cos(_ELEVATIONS) * np.sin(_AZIMUTHS), np.sin(_ELEVATIONS)], 1
)


def pack_atmosphere(a: Atmosphere) -> Floats:
    """[19] as the kernels read it."""
    milk = 1.0 - math.exp(-60.0 * a.haze_per_m)  # share of what is 60 m away that haze takes: fog hides the sky too
    tail = [a.cloud_cover, a.cloud_seed, a.haze_per_m, milk]
    return np.concatenate([a.sun_direction, a.sun_color, a.zenith, a.horizon, a.ground_bounce, tail])


@njit(nogil=True, cache=True, error_model="numpy")
def sky(directions, pixel_angle, air, out):  # type: ignore[no-untyped-def]
    """Radiance of the sky along directions [R, 3] of any length, into out [R, 3]."""
    color = np.empty(3)
    for i in range(len(directions)):
        x, y, z = directions[i, 0], directions[i, 1], directions[i, 2]
        scale = 1.0 / math.sqrt(x * x + y * y + z * z)
        x, y, z = x * scale, y * scale, z * scale
        _air_light(x, y, z, air, color)
        _clouds(x, y, z, pixel_angle, air, color)
        cosine = x * air[0] + y * air[1] + z * air[2]
        if cosine > 0.9990 and air[_SUN_COLOR] > 0:  # the disc, a little larger than life so that pixels can hold it
            disc = min(max((math.acos(min(cosine, 1.0)) - 0.010) / -0.003, 0.0), 1.0) * (1.0 - 0.8 * air[_COVER])
            for k in range(3):
                color[k] += disc * (1.0 - air[_MILK]) * 25.0 * air[_SUN_COLOR + k]
        for k in range(3):
            out[i, k] = color[k]


@njit(nogil=True, cache=True, error_model="numpy")
def light(  # type: ignore[no-untyped-def]
    rows,  # [N] which of the R rays to light
    point, normal, albedo, emission, gloss,  # [R, ...] see `Surfels` and `materials.evaluate`
    directions,  # [R, 3] of any length
    distance_m,  # [R] from the eye, for haze
    sunlit,  # [R] 0 to 1
    open_sky,  # [R] 0 to 1, share of the sky that is seen
    mirror,  # [R, 3] what water mirrors; negative where that was not traced
    lights,  # [L, 11] see `atmosphere`
    air,
    out,  # [R, 3]
):  # fmt: skip
    """Light that comes from surfaces to the eye."""
    haze_color, reflected, lamp = np.zeros(3), np.zeros(3), np.zeros(3)
    for row in rows:
        nx, ny, nz = normal[row, 0], normal[row, 1], normal[row, 2]
        dx, dy, dz = directions[row, 0], directions[row, 1], directions[row, 2]
        scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx * scale, dy * scale, dz * scale
        facing = max(-(nx * dx + ny * dy + nz * dz), 0.0)
        slant = max(nx * air[0] + ny * air[1] + nz * air[2], 0.0) * sunlit[row]
        _lamps(point[row], nx, ny, nz, lights, lamp)
        up, seen = 0.5 + 0.5 * nz, open_sky[row]
        overhead = 0.22 + 0.22 * nz
        # Mirrored direction, for paint, glass and water.
        rx, ry, rz = dx + 2 * facing * nx, dy + 2 * facing * ny, dz + 2 * facing * nz
        fresnel = (1.0 - facing) ** 5
        shine, water = gloss[row, 0], gloss[row, 1]
        share = 0.0
        if water > 0.0:
            share = water * (0.03 + 0.97 * fresnel)
            if mirror[row, 0] >= 0:
                for k in range(3):
                    reflected[k] = mirror[row, k]
            else:
                _surroundings(rx, ry, max(rz, 0.0), seen, air, reflected)
        elif shine > 0.0:
            share = shine + (0.65 - shine) * fresnel
            _surroundings(rx, ry, rz, seen, air, reflected)
            glint = rx * air[0] + ry * air[1] + rz * air[2]
            if glint > 0.95 and sunlit[row] > 0:
                for k in range(3):
                    reflected[k] += 6.0 * glint**300 * sunlit[row] * air[_SUN_COLOR + k]
        clear = math.exp(-air[_HAZE] * distance_m[row])
        _air_light(dx, dy, dz, air, haze_color)
        for k in range(3):
            skylight = air[_ZENITH + k] * overhead + air[_HORIZON + k] * (1.0 - overhead)
            # Where the sky is hidden by houses or cars, these and the ground give some of their own light.
            ambient = up * (seen * skylight + (1.0 - seen) * 0.40 * air[_BOUNCE + k])
            ambient += (1.0 - up) * air[_BOUNCE + k] * (0.35 + 0.65 * seen)
            lit = albedo[row, k] * (air[_SUN_COLOR + k] * slant + ambient + lamp[k])
            lit += share * (reflected[k] - lit) + emission[row, k]
            out[row, k] = lit * clear + haze_color[k] * (1.0 - clear)


@njit(nogil=True, cache=True, error_model="numpy")
def add_lamp_streaks(origins, directions, free, lights, out):  # type: ignore[no-untyped-def]
    """Lamps as a wet road mirrors them: drawn out upright. Rays [R, 3] unit, free [R] metres; adds to out [R, 3]."""
    for i in range(len(directions)):
        flat = math.sqrt(directions[i, 0] ** 2 + directions[i, 1] ** 2) + 1e-9
        for j in range(len(lights)):
            x, y, z = lights[j, 0] - origins[i, 0], lights[j, 1] - origins[i, 1], lights[j, 2] - origins[i, 2]
            away = math.sqrt(x * x + y * y) + 1e-9
            along = (x * directions[i, 0] + y * directions[i, 1]) / (away * flat)
            if along < 0.98 or away > 90.0 or free[i] < 0.6 * away:
                continue
            aside = (1.0 - along * along) / 0.022**2
            tilt = (z / away - directions[i, 2] / flat) / 0.10
            if aside + tilt * tilt > 9.0:
                continue
            distance = math.sqrt(away * away + z * z)
            cosine = -(x * lights[j, 6] + y * lights[j, 7] + z * lights[j, 8]) / distance
            if cosine < 0.0:
                continue  # a headlight seen from behind
            beam = min(max((cosine - lights[j, 9]) / (1.0 - lights[j, 9]), 0.0), 1.0)
            brightest = max(lights[j, 3], lights[j, 4], lights[j, 5])
            strength = 0.45 * (0.25 + 0.75 * beam) * math.exp(-0.5 * (aside + tilt * tilt)) / (1.0 + distance / 25.0)
            for k in range(3):
                out[i, k] += strength * lights[j, 3 + k] / brightest


@njit(nogil=True, cache=True, error_model="numpy")
def _lamps(point, nx, ny, nz, lights, out):  # type: ignore[no-untyped-def]
    """Light of lamps on a surface; without shadows. Nearer than an eighth of its reach none grows much brighter."""
    out[0], out[1], out[2] = 0.0, 0.0, 0.0
    for i in range(len(lights)):
        x, y, z = lights[i, 0] - point[0], lights[i, 1] - point[1], lights[i, 2] - point[2]
        squared, reach = x * x + y * y + z * z, lights[i, 10]
        if squared > reach * reach:
            continue
        distance = math.sqrt(squared) + 1e-9
        slant = (nx * x + ny * y + nz * z) / distance
        if slant <= 0:
            continue
        beam = 1.0
        if lights[i, 9] > -1.0:
            cosine = -(x * lights[i, 6] + y * lights[i, 7] + z * lights[i, 8]) / distance
            beam = (cosine - lights[i, 9]) / (1.0 - lights[i, 9])
            if beam <= 0:
                continue
            beam *= beam
        fade = 1.0 - (squared / (reach * reach)) ** 2
        strength = slant * beam * fade * fade / (squared + 0.014 * reach * reach)
        for k in range(3):
            out[k] += strength * lights[i, 3 + k]


@njit(nogil=True, cache=True, error_model="numpy")
def _surroundings(x, y, z, seen, air, color):  # type: ignore[no-untyped-def]
    """What a glossy surface mirrors when nothing is traced: sky above a dim skyline, ground below."""
    _air_light(x, y, max(z, 0.0), air, color)
    above = min(max((z - 0.05) / 0.25, 0.0), 1.0) * (0.3 + 0.7 * seen)
    below = min(max(-z / 0.15, 0.0), 1.0)
    for k in range(3):
        skyline = 0.55 * air[_BOUNCE + k] + 0.18 * air[_HORIZON + k]
        skyline += below * (0.8 * air[_BOUNCE + k] - skyline)
        color[k] = above * color[k] + (1.0 - above) * skyline


@njit(nogil=True, cache=True, error_model="numpy")
def _air_light(x, y, z, air, color):  # type: ignore[no-untyped-def]
    """Sky without clouds, which is the color of haze too: horizon to zenith, brighter around the sun."""
    height = 1.0 - max(z, 0.0)
    low = height * height
    low = low * low * (0.6 + 0.4 * height)
    cosine = max(x * air[0] + y * air[1] + z * air[2], 0.0)
    glow = 0.10 * cosine**4 + 0.45 * cosine**40
    for k in range(3):
        color[k] = air[_ZENITH + k] + low * (air[_HORIZON + k] - air[_ZENITH + k])
        color[k] += glow * (0.35 + 0.65 * low) * air[_SUN_COLOR + k]
        color[k] += air[_MILK] * (air[_HORIZON + k] - color[k])


@njit(nogil=True, cache=True, error_model="numpy")
def _clouds(x, y, z, pixel_angle, air, color):  # type: ignore[no-untyped-def]
    """Clouds on a flat layer, thinning into the haze near the horizon."""
    if z < 0.015 or air[_COVER] <= 0.0 or air[_MILK] > 0.6:
        return
    scale = 1.0 / (z + 0.08)
    cx, cy = x * scale, y * scale
    wide = pixel_angle * scale * scale
    seed = int(air[_CLOUD_SEED])
    density, size, weight = 0.0, 1.1, 1.0
    for octave in range(5):
        fade = min(max(0.5 * size / wide - 0.5, 0.0), 1.0)
        if fade > 0:
            density += fade * weight * _noise(cx / size, cy / size, seed + 13 * octave)
        size *= 0.48
        weight *= 0.55
    cover = air[_COVER]
    thick = min(max((density + 2.3 * cover - 1.15) * 1.5, 0.0), 1.0)
    thick = thick * thick * (3.0 - 2.0 * thick) * min(z / 0.10, 1.0)
    if thick <= 0:
        return
    dark = min(max(0.5 + 0.55 * density, 0.0), 1.0)  # denser is darker below
    for k in range(3):
        bright = 0.80 * air[_SUN_COLOR + k] * max(air[2], 0.12) + 0.55 * air[_HORIZON + k] + 0.45 * air[_ZENITH + k]
        below = bright * (0.62 if air[_SUN_COLOR] > 0 else 0.76)
        color[k] += thick * (bright + dark * (below - bright) - color[k]) * (1.0 - air[_MILK])


@njit(nogil=True, cache=True, error_model="numpy")
def _noise(x, y, seed):  # type: ignore[no-untyped-def]
    """Value noise in the plane, in [-1, 1], grain 1."""
    i, j = math.floor(x), math.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    low = _hash(i, j, seed) * (1 - fx) + _hash(i + 1, j, seed) * fx
    high = _hash(i, j + 1, seed) * (1 - fx) + _hash(i + 1, j + 1, seed) * fx
    return 2.0 * (low + fy * (high - low)) - 1.0


@njit(nogil=True, cache=True, error_model="numpy")
def _hash(i, j, seed):  # type: ignore[no-untyped-def]
    h = (np.int64(i) * 374761393 + np.int64(j) * 668265263 + np.int64(seed) * 974711) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    h = ((h ^ (h >> 15)) * 97531461) & 0x7FFFFFFF
    return ((h ^ (h >> 12)) & 0xFFFF) / 65535.0
