"""Colors of surfaces: one Numba kernel that evaluates every material at ray hits, filtered to the pixel's size.

Every pattern is averaged over what the pixel covers (box filters for marks and windows; octaves of noise fade out),
so that two views of a place agree on its color. The kernels call each other and hence share a file: Numba's cache
does not notice changes in other files.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from jwmtool.worlds.shapes.surfaces import (
    CENTER_DASHED,
    CENTER_DOUBLE,
    CENTER_NONE,
    FACADE_BRICK,
    FACADE_OFFICE,
    FACADE_SHOP,
    SIGN_BLUE,
    SIGN_DIRECTION,
    SIGN_PROHIBITION,
    SIGN_STOP,
    SIGN_WARNING,
    Material,
)

# Kernels know plain numbers, not enums.
_PLAIN, _ROAD, _JUNCTION, _CROSSING, _STOP_LINE, _PAVEMENT, _GRASS, _FIELD, _FACADE, _ROOF = (
    int(m) for m in list(Material)[:10]
)
_CAR_PAINT, _GLASS, _METAL, _LAMP, _SIGNAL, _LEAVES, _FUR, _SIGN, _STRIPED, _ROCK = (
    int(m) for m in list(Material)[10:]
)


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate(  # type: ignore[no-untyped-def]
    rows,  # [N] which of the R rays to evaluate
    point, normal, texture, extent, wide, narrow, surface,  # [R, ...] see `Surfels`
    surfaces,  # [S, 14] static ones, then those of moving things
    first_moving,  # number of static surfaces
    wetness, snow_cover, lamps,  # see `Atmosphere`
    signal_colors,  # [G]
    albedo,  # out [R, 3]
    emission,  # out [R, 3]
    gloss,  # out [R, 2]: share mirrored looking straight on; share of the surface under water
):  # fmt: skip
    """Color of everything hit: fills the outputs at `rows`."""
    rgb, glow = np.empty(3), np.empty(3)
    for row in rows:
        s = surfaces[surface[row]]
        moving = surface[row] >= first_moving
        x, y, z, nz = texture[row, 0], texture[row, 1], texture[row, 2], normal[row, 2]
        glow[0], glow[1], glow[2] = 0.0, 0.0, 0.0
        shine = _color(s, x, y, z, extent[row], wide[row], narrow[row], lamps, signal_colors, rgb, glow)
        material = int(s[0])
        water = 0.0
        if wetness > 0.0 and not moving:
            flat = _ROAD <= material <= _PAVEMENT and nz > 0.9
            if flat:
                px, py = point[row, 0], point[row, 1]
                low = _noise2(px / 4.5, py / 4.5, 91) + 0.4 * _noise2(px / 1.3, py / 1.3, 92)
                puddle = min(max(1.5 * low + 0.4 + 0.9 * (wetness - 0.7), 0.0), 1.0)
                water = wetness * (0.55 + 0.45 * puddle)
            _shade(rgb, 1.0 - wetness * (0.50 if flat else 0.22))
        if snow_cover > 0.0:
            white = _snow(material, y, s, point[row], nz, wide[row], moving, snow_cover)
            _mix(rgb, white, 0.80, 0.82, 0.86)
            shine *= 1.0 - white
            water *= 1.0 - white
        for k in range(3):
            albedo[row, k] = min(max(rgb[k], 0.0), 0.95)
            emission[row, k] = glow[k]
        gloss[row, 0], gloss[row, 1] = shine, water


@njit(nogil=True, cache=True, error_model="numpy")
def _snow(material, y, s, point, nz, wide, moving, snow_cover):  # type: ignore[no-untyped-def]
    """Share of white on a surface: more on flat ground, less in wheel tracks and on what moves."""
    if material in (_SIGNAL, _LAMP, _SIGN, _FUR, _STRIPED):
        return 0.0
    low, steep = (0.1, 0.5) if material == _LEAVES else (0.45, 0.35)
    up = min(max((nz - low) / steep, 0.0), 1.0)
    if moving:
        return 0.5 * snow_cover * up if material == _CAR_PAINT and nz > 0.85 else 0.0
    patches = 0.6 * _noise2(point[0] / 3.1, point[1] / 3.1, 93) + 0.4 * _noise2(point[0] / 0.9, point[1] / 0.9, 94)
    if material in (_ROAD, _JUNCTION, _CROSSING, _STOP_LINE):
        cover = 0.55 * snow_cover + 0.25 * patches
        if material == _ROAD:
            lane = (abs(y) - s[11]) % s[8] - 0.5 * s[8]
            reach = s[11] + max(s[9], s[10]) * s[8]
            tracks = _cover(abs(lane), 0.50, 1.05, max(wide * 0.2, 0.3)) if abs(y) < reach else 0.0
            beside = 0.35 if abs(y) > reach else 0.0
            cover += beside - 0.55 * tracks
        return min(max(cover, 0.0), 0.95) * up
    cover = min(max(1.5 * snow_cover + 0.35 * patches - 0.25, 0.0), 1.0) * up
    return 0.65 * cover if material == _LEAVES else cover


@njit(nogil=True, cache=True, error_model="numpy")
def _color(s, x, y, z, size, wide, narrow, lamps, signal_colors, rgb, glow):  # type: ignore[no-untyped-def]
    """Reflectance and own light of one surface; returns the mirrored share looking straight on."""
    material, seed = int(s[0]), int(s[7])
    p0, p1, p2 = s[8], s[9], s[10]
    for k in range(3):
        rgb[k] = s[1 + k]
    shine = 0.0
    if material == _ROAD:
        _road(s, x, y, size, wide, rgb)
    elif material <= _STOP_LINE and material >= _JUNCTION:
        _shade(rgb, 1.0 + 0.26 * _grain2(x, y, seed, 0.06, wide) + 0.08 * _noise2(x / 17.0, y / 17.0, seed + 3))
        if material != _JUNCTION:
            paint = 1.0
            if material == _CROSSING:
                pitch = p0 if p0 > 0 else 1.0
                paint = _pulse(x, pitch, 0.25 * pitch, 0.75 * pitch, size[0])
            _mix(rgb, paint * (0.78 + 0.16 * _grain2(x, y, seed + 9, 0.2, wide)), s[4], s[5], s[6])
    elif material == _PAVEMENT:
        slab = p0 if p0 > 0 else 0.8
        tone = _hash(math.floor(x / slab), math.floor(y / slab), 0, seed) - 0.5
        _shade(rgb, 1.0 + 0.18 * tone * _fade(slab, wide) + 0.22 * _grain2(x, y, seed, 0.2, wide))
        half = 0.02
        joint = max(_pulse(x + half, slab, 0.0, 2 * half, size[0]), _pulse(y + half, slab, 0.0, 2 * half, size[1]))
        _mix(rgb, 0.8 * joint, s[4], s[5], s[6])
    elif material in (_GRASS, _FIELD):
        if material == _FIELD:
            pitch = max(p0, 1.5)
            wave = y + 0.25 * _noise2(x / 9.0, y / 9.0, seed)
            _mix(rgb, 1.0 - _pulse(wave, pitch, 0.0, 0.62 * pitch, size[1] + 0.3), s[4], s[5], s[6])
            _shade(rgb, 1.0 + 0.2 * _noise2(x / 30.0, y / 30.0, seed + 5))
        else:
            patch = p0 if p0 > 0 else 6.0
            low = _noise2(x / patch, y / patch, seed) + 0.5 * _noise2(2.7 * x / patch, 2.7 * y / patch, seed + 1)
            _mix(rgb, min(max(0.5 + 0.8 * low, 0.0), 1.0), s[4], s[5], s[6])
        _shade(rgb, 1.0 + 0.42 * _grain2(x, y, seed + 2, 0.16, wide))
    elif material == _FACADE:
        shine = _facade(s, x, y, z, size, wide, lamps, rgb, glow)
    elif material == _ROOF:
        pitch = p0 if p0 > 0 else 0.9
        _shade(rgb, 1.0 + 0.28 * _grain(x, y, z, seed, 0.3, wide))
        _shade(rgb, 1.0 - 0.45 * _pulse(y, pitch, 0.0, 0.16 * pitch, size[1]))
        _shade(rgb, 1.0 - 0.12 * _pulse(x, 2.0 * pitch, 0.0, pitch, size[0]))
    elif material == _CAR_PAINT:
        shine = 0.05
    elif material == _GLASS:
        shine = 0.10
    elif material == _METAL:
        _shade(rgb, 1.0 + p0 * _grain(x, y, z, seed, 0.2, wide))
        shine = 0.06
    elif material == _LAMP:
        strength = 0.35 * p1 if lamps else p0  # exposures at night are longer
        for k in range(3):
            glow[k] = strength * s[1 + k]
            rgb[k] = s[4 + k]
        shine = 0.04
    elif material == _SIGNAL:
        group = int(p0)
        lit = 0 <= group < len(signal_colors) and signal_colors[group] == int(p1)
        for k in range(3):
            rgb[k] = 0.10 * s[1 + k] + 0.01
            glow[k] = (1.3 if not lamps else 1.6) * s[1 + k] if lit else 0.0
    elif material == _LEAVES:
        grain = p0 if p0 > 0 else 0.35
        blur = min(wide, 2.0 * narrow)  # a crown is rough: seen aslant, its grain is no finer than seen straight on
        low = _noise(x / (3.2 * grain), y / (3.2 * grain), z / (3.2 * grain), seed) * _fade(3.2 * grain, blur)
        high = _noise(x / grain, y / grain, z / grain, seed + 1) * _fade(grain, blur)
        fine = _noise(2.3 * x / grain, 2.3 * y / grain, 2.3 * z / grain, seed + 2) * _fade(grain / 2.3, blur)
        _mix(rgb, min(max(0.5 + 0.9 * low + 0.3 * high, 0.0), 1.0), s[4], s[5], s[6])
        leaf = _noise(5.3 * x / grain, 5.3 * y / grain, 5.3 * z / grain, seed + 3) * _fade(grain / 5.3, blur)
        _shade(rgb, max(1.0 + 0.25 * low + 0.40 * high + 0.40 * fine + 0.45 * leaf, 0.15))
    elif material == _FUR:
        edge = 0.06 * _noise(x / 0.3, y / 0.3, z / 0.3, seed + 4)
        below = min(max((p0 - z + edge) / (0.12 + size[2]) + 0.5, 0.0), 1.0) if p0 > 0 else 0.0
        _mix(rgb, below, s[4], s[5], s[6])
        if p1 > 0:
            bend = 0.45 * p1 * _noise(x / (2.2 * p1), y / (2.2 * p1), z / (1.6 * p1), seed + 6)
            stripe = _pulse(x + bend + 0.18 * z, p1, 0.0, 0.38 * p1, size[0] + 0.4 * size[2] + 0.01)
            gap = min(max(1.3 + 2.2 * _noise(x / (1.5 * p1), y / p1, z / (1.1 * p1), seed + 8), 0.0), 1.0)
            _mix(rgb, 0.92 * stripe * gap * (1.0 - 0.45 * below), 0.012, 0.010, 0.009)
        if p2 > 0:
            _mix(rgb, min(max((p2 - z + edge) / 0.12 + 0.5, 0.0), 1.0), 0.02, 0.017, 0.015)
        _shade(rgb, 1.0 + 0.22 * _grain(x, y, z, seed, 0.06, wide))
    elif material == _SIGN:
        _sign(s, x, y, size, rgb)
        if lamps:  # signs throw headlights back
            for k in range(3):
                glow[k] = 0.03 * rgb[k]
    elif material == _STRIPED:
        pitch = p0 if p0 > 0 else 1.0
        _mix(rgb, _pulse(x, pitch, 0.0, 0.5 * pitch, size[0]), s[4], s[5], s[6])
        _shade(rgb, 1.0 + 0.1 * _grain(x, y, z, seed, 0.25, wide))
    elif material == _ROCK:
        grain = p0 if p0 > 0 else 0.5
        low = _noise(x / grain, y / grain, z / grain, seed) * _fade(grain, wide)
        _mix(rgb, min(max(0.5 + low, 0.0), 1.0), s[4], s[5], s[6])
        _shade(rgb, 1.0 + 0.45 * _grain(x, y, z, seed + 1, grain / 4.0, wide))
    else:
        _shade(rgb, 1.0 + p0 * _grain(x, y, z, seed, p1 if p1 > 0 else 0.25, wide))
    return shine


@njit(nogil=True, cache=True, error_model="numpy")
def _road(s, x, y, size, wide, rgb):  # type: ignore[no-untyped-def]
    """Asphalt with wheel tracks and mended patches; lane marks, edge lines, the middle line or median."""
    lane, num_right, num_left, median, paved, seed = s[8], s[9], s[10], s[11], s[12], int(s[7])
    style = int(s[13])
    edge_lines, center = style >= 10, style % 10
    side = y if y > 0 else -y
    count = num_left if y > 0 else num_right
    outer = median + count * lane  # end of the driving lanes
    shade = 1.0 + 0.26 * _grain2(x, y, seed, 0.06, wide) + 0.09 * _noise2(x / 23.0, y / 6.0, seed + 3)
    across = size[1] + 0.3
    if median < side < outer:
        place = (side - median) % lane
        shade -= 0.10 * (_cover(abs(place - 0.5 * lane), 0.45, 1.1, across) - 0.4)
    elif side >= outer:
        shade *= 0.93
    patch_x, patch_y = math.floor(x / 11.0), math.floor(y / lane)
    if _hash(patch_x, patch_y, 5, seed) < 0.10:
        left, long = 1.0 + 3.0 * _hash(patch_x, patch_y, 6, seed), 2.0 + 4.0 * _hash(patch_x, patch_y, 7, seed)
        inside = _cover(x - 11.0 * patch_x, left, left + long, size[0])
        inside *= _cover(y - lane * patch_y, 0.12 * lane, 0.88 * lane, size[1])
        shade *= 1.0 - inside * (0.34 if _hash(patch_x, patch_y, 8, seed) < 0.7 else -0.22)
    _shade(rgb, shade)
    if median > 0.15:  # the median itself, where it is paved
        _mix(rgb, 0.5 * _cover(side, -1.0, median - 0.12, size[1]), 0.26, 0.25, 0.23)
    _mix(rgb, 0.45 * _cover(side, paved - 0.32, paved + 1.0, size[1]), 0.17, 0.165, 0.155)  # gutter
    paint = 0.0
    gap = 9.0 if lane < 3.4 else 12.0
    for k in range(1, int(count)):
        paint += _cover(side, median + k * lane - 0.065, median + k * lane + 0.065, size[1]) * _pulse(
            x, gap, 0.0, gap / 3.0, size[0]
        )
    if edge_lines:
        paint += _cover(side, outer - 0.15, outer, size[1])
    if median > 0.15:
        paint += _cover(side, median, median + 0.15, size[1])
    elif center == CENTER_DASHED:
        paint += _cover(y, -0.065, 0.065, size[1]) * _pulse(x, gap, 0.0, gap / 2.5, size[0])
    elif center == CENTER_DOUBLE:
        paint += _cover(side, 0.07, 0.19, size[1])
    elif center != CENTER_NONE:
        paint += _cover(y, -0.07, 0.07, size[1])
    worn = 0.84 + 0.20 * _noise2(x / 2.1, y / 2.1, seed + 12) * _fade(2.1, wide)
    _mix(rgb, min(paint, 1.0) * min(worn, 1.0), s[4], s[5], s[6])


@njit(nogil=True, cache=True, error_model="numpy")
def _facade(s, x, y, z, size, wide, lamps, rgb, glow):  # type: ignore[no-untyped-def]
    """Plaster, brick or office wall with windows, doors or shops; returns the mirrored share."""
    pitch, storey, height, share, style, length = s[8], s[9], s[10], s[11], int(s[12]), s[13]
    seed = int(s[7])
    _shade(rgb, 1.0 + 0.13 * _grain2(x + 31.0 * z, y, seed, 0.35, wide) + 0.10 * _noise2(x / 6.0, y / 9.0, seed + 2))
    if style == FACADE_BRICK:  # courses are too fine to see; what shows is that bricks differ
        _shade(rgb, 1.0 + 0.20 * _noise2(x / 0.5, y / 0.22, seed + 3) * _fade(0.3, wide))
    _shade(rgb, 1.0 - 0.25 * _cover(y, -2.0, 0.5, size[1] + 0.1))
    columns = math.floor(length / pitch) if pitch > 0 else 0
    if height < storey or columns < 1:
        return 0.0
    along = x - 0.5 * (length - columns * pitch)
    column, floor = math.floor(along / pitch), math.floor(y / storey)
    storeys = math.floor(height / storey + 0.15)
    # Trim: a band above the ground floor, a cornice.
    band = _cover(y, storey - 0.22, storey - 0.02, size[1]) if storeys > 1 else 0.0
    _mix(rgb, 0.8 * max(band, _cover(y, height - 0.4, height + 1.0, size[1])), s[4], s[5], s[6])
    if column < 0 or column >= columns or floor < 0 or floor >= storeys:
        return 0.0
    u, v = along - (column + 0.5) * pitch, y - floor * storey
    ground_floor = floor == 0
    tone, kind = _hash(column, floor, 3, seed), _hash(column, 0, 7, seed)
    half, low, high = 0.5 * share * pitch, 0.31 * storey, 0.84 * storey
    shop = ground_floor and style == FACADE_SHOP
    door = ground_floor and not shop and style != FACADE_OFFICE and kind < 0.22
    if shop:
        half, low, high = 0.44 * pitch, 0.12 * storey, 0.74 * storey
        board = _cover(v, 0.79 * storey, 0.95 * storey, size[1]) * _cover(abs(u), -1.0, 0.46 * pitch, size[0])
        hue = _hash(math.floor(column / 2), 0, 11, seed)
        _mix(rgb, 0.85 * board, 0.55 * hue, 0.10 + 0.3 * abs(0.5 - hue), 0.55 * (1.0 - hue))
        if lamps:
            _add(glow, 0.10 * board, 0.5 * hue + 0.2, 0.25 + 0.2 * hue, 0.7 - 0.5 * hue)
    elif door:
        half, low, high = 0.55, 0.0, min(2.15, 0.8 * storey)
    elif style == FACADE_OFFICE:
        half, low, high = 0.47 * pitch, 0.22 * storey, 0.90 * storey
    rim = 0.0 if style == FACADE_OFFICE or shop else 0.12
    frame = _cover(abs(u), -1.0, half + rim, size[0]) * _cover(v, low - rim, high + rim, size[1])
    _mix(rgb, 0.85 * frame, s[4], s[5], s[6])
    pane = _cover(abs(u), -1.0, half, size[0]) * _cover(v, low, high, size[1])
    if door:
        _mix(rgb, pane, 0.05 + 0.22 * tone, 0.07 + 0.08 * tone, 0.06 + 0.05 * _hash(column, 0, 9, seed))
        return 0.0
    # Glass over a dim room, curtains from the top or a blind; a sash bar, and the shadow of the reveal.
    _mix(rgb, pane, 0.035 + 0.03 * tone, 0.042 + 0.03 * tone, 0.050 + 0.03 * tone)
    drawn = 0.0
    if shop:  # something stands in the window
        goods = max(_noise2(x / 0.45, y / 0.6, seed + 17) * _fade(0.5, wide), 0.0) * _cover(
            v, low, 0.55 * high, size[1]
        )
        _mix(rgb, 0.55 * pane * goods, 0.10 + 0.4 * tone, 0.34, 0.42 - 0.3 * kind)
    if style != FACADE_OFFICE and not shop:
        drawn = _cover(v, high - (high - low) * max(1.3 * tone - 0.45, 0.0), high, size[1] + 0.05)
        sides = _cover(abs(u), 0.62 * half, half, size[0]) if kind > 0.55 else 0.0
        drawn = max(drawn, sides)
        _mix(rgb, 0.75 * pane * drawn, 0.46, 0.44, 0.40)
    bars = _cover(abs(u), -1.0, 0.035, size[0])
    if style == FACADE_OFFICE:
        bars = 0.0
    elif not shop:
        bars = max(bars, _cover(abs(v - low - 0.68 * (high - low)), -1.0, 0.03, size[1]))
    _mix(rgb, 0.85 * pane * bars, s[4], s[5], s[6])
    reveal = _cover(v, high - 0.12, high, size[1]) * _cover(abs(u), -1.0, half, size[0])
    _shade(rgb, 1.0 - 0.55 * reveal)
    if lamps:
        lit = 1.0 if shop else (1.0 if _hash(column, floor, 5, seed) < 0.36 else 0.0)
        warm = _hash(column, floor, 6, seed)
        strength = lit * pane * (1.0 - 0.6 * bars) * (0.06 + 0.16 * tone if not shop else 0.30) * (1.0 - 0.45 * drawn)
        _add(glow, strength, 1.0, 0.72 + 0.14 * warm, 0.36 + 0.40 * warm)
    return 0.09 * pane * (1.0 - 0.8 * bars) * (1.0 - 0.7 * drawn)


@njit(nogil=True, cache=True, error_model="numpy")
def _sign(s, x, y, size, rgb):  # type: ignore[no-untyped-def]
    """Road signs: a ring, a triangle, an arrow, a bar, or lines of writing too small to read."""
    kind, half, aspect = int(s[8]), s[9], s[10] if s[10] > 0 else 1.0
    soft = max(size[0], size[1])
    radius = math.sqrt(x * x + y * y)
    if kind == SIGN_PROHIBITION:
        _mix(rgb, _cover(radius, 0.78 * half, 2.0 * half, soft), s[4], s[5], s[6])
        aside = abs(abs(x) - 0.25 * half)  # from the middle of one of two digits, both noughts
        digits = _cover(aside, -1.0, 0.15 * half, size[0]) * _cover(abs(y), -1.0, 0.34 * half, size[1])
        digits -= 0.8 * _cover(aside, -1.0, 0.05 * half, size[0]) * _cover(abs(y), -1.0, 0.2 * half, size[1])
        _mix(rgb, 0.95 * digits, 0.02, 0.02, 0.02)
    elif kind == SIGN_WARNING:
        inner = min(y + 0.5 * half, 0.5 * half - 0.5 * y - 0.866 * abs(x))  # distance to the nearest edge
        _mix(rgb, _cover(inner, -half, 0.15 * half, soft), s[4], s[5], s[6])
        bar = _cover(abs(x), -1.0, 0.07 * half, size[0]) * _cover(y, -0.08 * half, 0.45 * half, size[1])
        dot = _cover(abs(x), -1.0, 0.08 * half, size[0]) * _cover(y, -0.30 * half, -0.16 * half, size[1])
        _mix(rgb, min(bar + dot, 1.0), 0.02, 0.02, 0.02)
    elif kind == SIGN_BLUE:
        shaft = _cover(abs(x), -1.0, 0.12 * half, size[0]) * _cover(y, -0.6 * half, 0.35 * half, size[1])
        head = _cover(abs(x), -1.0, 0.9 * (0.65 * half - y), size[0]) * _cover(y, 0.15 * half, 0.65 * half, size[1])
        _mix(rgb, min(shaft + head, 1.0), s[4], s[5], s[6])
    elif kind == SIGN_STOP:
        _mix(rgb, _cover(radius, 0.90 * half, 2.0 * half, soft), s[4], s[5], s[6])
        letters = _cover(abs(y), -1.0, 0.26 * half, size[1]) * _cover(abs(x), -1.0, 0.72 * half, size[0])
        letters *= 1.0 - _pulse(x + 0.72 * half, 0.38 * half, 0.28 * half, 0.38 * half, size[0])
        _mix(rgb, letters, s[4], s[5], s[6])
    elif kind == SIGN_DIRECTION:
        edge = min(half - abs(x), aspect * half - abs(y))
        _mix(rgb, _cover(edge, 0.03 * half, 0.07 * half, soft), s[4], s[5], s[6])
        lines = _pulse(y + aspect * half, 0.62 * aspect * half, 0.20 * aspect * half, 0.42 * aspect * half, size[1])
        row = math.floor((y + aspect * half) / (0.62 * aspect * half))
        long = 0.25 + 0.5 * _hash(int(row), 1, 2, int(s[7]))
        text = lines * _cover(x, -0.78 * half, (-0.78 + 1.5 * long) * half, size[0])
        words = 1.0 - 0.5 * _pulse(x, 0.12 * half, 0.0, 0.05 * half, size[0])
        _mix(rgb, 0.9 * text * words * _cover(edge, 0.12 * half, 9.0, soft), s[4], s[5], s[6])


@njit(nogil=True, cache=True, error_model="numpy")
def _mix(rgb, weight, r, g, b):  # type: ignore[no-untyped-def]
    rgb[0] += weight * (r - rgb[0])
    rgb[1] += weight * (g - rgb[1])
    rgb[2] += weight * (b - rgb[2])


@njit(nogil=True, cache=True, error_model="numpy")
def _add(rgb, weight, r, g, b):  # type: ignore[no-untyped-def]
    rgb[0] += weight * r
    rgb[1] += weight * g
    rgb[2] += weight * b


@njit(nogil=True, cache=True, error_model="numpy")
def _shade(rgb, factor):  # type: ignore[no-untyped-def]
    for k in range(3):
        rgb[k] *= factor


@njit(nogil=True, cache=True, error_model="numpy")
def _cover(value, low, high, width):  # type: ignore[no-untyped-def]
    """Share of [value - width/2, value + width/2] that lies within [low, high]."""
    return max(min(high, value + 0.5 * width) - max(low, value - 0.5 * width), 0.0) / width


@njit(nogil=True, cache=True, error_model="numpy")
def _pulse(x, period, low, high, width):  # type: ignore[no-untyped-def]
    """Share of [x - width/2, x + width/2] that lies within [low, high] of every period; 0 <= low < high <= period."""
    share = high - low
    end, start = (x + 0.5 * width - low) / period, (x - 0.5 * width - low) / period
    whole_end, whole_start = math.floor(end), math.floor(start)
    covered = share * (whole_end - whole_start)
    covered += min((end - whole_end) * period, share) - min((start - whole_start) * period, share)
    return covered / width


@njit(nogil=True, cache=True, error_model="numpy")
def _fade(grain, wide):  # type: ignore[no-untyped-def]
    """Noise finer than the pixel has faded out; one thrice as coarse is wholly there."""
    return min(max(0.5 * grain / wide - 0.5, 0.0), 1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _hash(i, j, k, seed):  # type: ignore[no-untyped-def]
    h = (
        np.int64(i) * 374761393 + np.int64(j) * 668265263 + np.int64(k) * 2147483647 + np.int64(seed) * 974711
    ) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    h = ((h ^ (h >> 15)) * 97531461) & 0x7FFFFFFF
    return ((h ^ (h >> 12)) & 0xFFFF) / 65535.0


@njit(nogil=True, cache=True, error_model="numpy")
def _noise(x, y, z, seed):  # type: ignore[no-untyped-def]
    """Value noise in [-1, 1] with grain 1."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - i, y - j, z - k
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    total = 0.0
    for a in range(2):
        for b in range(2):
            weight = (fx if a else 1 - fx) * (fy if b else 1 - fy)
            low, high = _hash(i + a, j + b, k, seed), _hash(i + a, j + b, k + 1, seed)
            total += weight * (low + fz * (high - low))
    return 2.0 * total - 1.0


@njit(nogil=True, cache=True, error_model="numpy")
def _noise2(x, y, seed):  # type: ignore[no-untyped-def]
    """The same in the plane."""
    i, j = math.floor(x), math.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    low = _hash(i, j, 0, seed) * (1 - fx) + _hash(i + 1, j, 0, seed) * fx
    high = _hash(i, j + 1, 0, seed) * (1 - fx) + _hash(i + 1, j + 1, 0, seed) * fx
    return 2.0 * (low + fy * (high - low)) - 1.0


@njit(nogil=True, cache=True, error_model="numpy")
def _grain(x, y, z, seed, finest_m, wide):  # type: ignore[no-untyped-def]
    """Three octaves of noise, 9, 3 and 1 times `finest_m`, in [-1.5, 1.5]; they fade by the pixel's footprint."""
    total, size = 0.0, finest_m * 9.0
    for octave in range(3):
        fade = (0.7 + 0.3 * octave) * _fade(size, wide)
        if fade > 0:
            total += fade * _noise(x / size, y / size, z / size, seed + 31 * octave)
        size /= 3.0
    return total / 2.0


@njit(nogil=True, cache=True, error_model="numpy")
def _grain2(x, y, seed, finest_m, wide):  # type: ignore[no-untyped-def]
    """The same in the plane."""
    total, size = 0.0, finest_m * 9.0
    for octave in range(3):
        fade = (0.7 + 0.3 * octave) * _fade(size, wide)
        if fade > 0:
            total += fade * _noise2(x / size, y / size, seed + 31 * octave)
        size /= 3.0
    return total / 2.0
