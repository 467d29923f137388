"""What is seen in the air rather than on surfaces: the glow of lamps, streaks of rain, flakes of snow."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera
from jwmtool.worlds.description import Atmosphere

Floats = NDArray[np.float64]

_NEAREST_M = 0.6  # drops nearer than this are wiped away


def add_glow(
    linear: Floats, depth: NDArray[np.float32], camera: Camera, lights: Floats, atmosphere: Atmosphere
) -> None:
    """Add halos of the lamps that are in view to linear [H, W, 3]."""
    if not len(lights):
        return
    pixels, z = camera.project(lights[:, :3])
    inside = (z > 0.5) & (z < 150.0)
    inside &= (pixels > 0).all(1) & (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height)
    eye = camera.world_from_cam[:3, 3]
    thickness = 1.0 - math.exp(-40.0 * atmosphere.haze_per_m)
    for i in np.flatnonzero(inside):
        x, y = int(pixels[i, 0]), int(pixels[i, 1])
        around = depth[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        visible = float((around > z[i] - 0.7).mean())
        if visible == 0:
            continue
        towards = eye - lights[i, :3]
        distance = float(np.linalg.norm(towards))
        cosine = float(towards @ lights[i, 6:9]) / distance
        edge = float(lights[i, 9])
        beam = 1.0 if edge <= -1 else min(max((cosine - edge) / (1.0 - edge), 0.0), 1.0)
        # Lenses and shades scatter some light out of the beam, but headlights none backwards.
        stray = 0.30 if edge < 0.5 else 0.15 * max(cosine, 0.0)
        strength = (
            visible * (stray + (0.7 if edge < 0.5 else 0.45) * beam) * math.exp(-atmosphere.haze_per_m * distance)
        )
        strength *= 1.5 / (1.0 + distance / 25.0) ** 1.5
        color = lights[i, 3:6] / float(lights[i, 3:6].max())
        size = camera.K[0, 0] * 0.012
        near = camera.K[0, 0] * 0.25 / float(z[i])  # the lamp itself
        _splat(linear, pixels[i], max(0.8, 0.5 * near), 0.8 * strength * color)
        _splat(linear, pixels[i], 2.2 * size + near, 0.30 * strength * color)
        _splat(linear, pixels[i], 7.0 * size + 2.0 * near, (0.045 + 0.10 * thickness) * strength * color)


def _splat(linear: Floats, center: Floats, sigma_px: float, color: Floats) -> None:
    reach = int(3.0 * sigma_px) + 1
    x0, y0 = max(int(center[0]) - reach, 0), max(int(center[1]) - reach, 0)
    x1, y1 = min(int(center[0]) + reach + 1, linear.shape[1]), min(int(center[1]) + reach + 1, linear.shape[0])
    x, y = np.arange(x0, x1) + 0.5 - center[0], np.arange(y0, y1) + 0.5 - center[1]
    shape = np.exp(-0.5 * (y / sigma_px) ** 2)[:, None] * np.exp(-0.5 * (x / sigma_px) ** 2)
    linear[y0:y1, x0:x1] += shape[..., None] * color


def add_precipitation(
    linear: Floats,
    depth: NDArray[np.float32],
    camera: Camera,
    next_camera: Camera,
    atmosphere: Atmosphere,
    time_s: float,
    seed: int,
) -> None:
    """Draw rain and snow that fall before the camera into linear [H, W, 3].

    Particles fill a box around the camera that repeats through the world, so that each falls on from frame to frame.
    """
    rng = np.random.default_rng(seed)
    wind = rng.normal(0.0, 1.0, 2)
    eye, later = camera.world_from_cam[:3, 3], next_camera.world_from_cam[:3, 3]
    # Count, box side m, velocity m/s, size m, opacity, brightness against the sky's, shutter.
    drawn: list[tuple[int, float, Floats, float, float, float, float]] = []
    if atmosphere.rain > 0:
        drawn.append((int(9000 * atmosphere.rain), 18.0, np.array([*wind, -8.5]), 0.006, 0.42, 1.5, 0.16))
    if atmosphere.snowfall > 0:
        drawn.append((int(9000 * atmosphere.snowfall), 18.0, np.array([*wind, -1.3]), 0.022, 0.9, 1.6, 0.04))
    cam_from_world = camera.cam_from_world
    for count, side, velocity, size, opacity, brightness, shutter in drawn:
        place = rng.uniform(0.0, side, (count, 3)) + velocity * rng.uniform(0.85, 1.15, (count, 1)) * time_s
        place = np.mod(place - eye + 0.5 * side, side) - 0.5 * side + eye
        # They fall by this much while the shutter is open, and the camera drives on.
        fall = velocity * 0.1 * shutter - (later - eye) * shutter
        start = place @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        end = start + cam_from_world[:3, :3] @ fall
        light = brightness * (0.6 * atmosphere.horizon + 0.4 * atmosphere.zenith)
        near_light = brightness * 0.10 if atmosphere.lamps else 0.0  # the ego's headlights and the town
        _draw(linear, depth, start, end, camera.K, size, opacity, light, near_light)


@njit(nogil=True, cache=True)
def _draw(linear, depth, start, end, K, size, opacity, light, near_light):  # type: ignore[no-untyped-def]
    """Soft strokes from start to end [N, 3] (camera frame), hidden by what is nearer."""
    height, width = depth.shape
    for i in range(len(start)):
        z = start[i, 2]
        if z < _NEAREST_M or end[i, 2] < _NEAREST_M:
            continue
        x0, y0 = start[i, 0] / z * K[0, 0] + K[0, 2], start[i, 1] / z * K[1, 1] + K[1, 2]
        x1, y1 = end[i, 0] / end[i, 2] * K[0, 0] + K[0, 2], end[i, 1] / end[i, 2] * K[1, 1] + K[1, 2]
        true_radius = 0.5 * size * K[0, 0] / z
        radius = max(true_radius, 0.5)
        fade = min(z / _NEAREST_M - 1.0, 1.0)  # what is very near is out of focus
        strength = opacity * fade * min(true_radius / radius, 1.0)
        if strength < 0.01:
            continue
        dx, dy = x1 - x0, y1 - y0
        squared = dx * dx + dy * dy + 1e-9
        if squared > 0.015 * width * width:
            continue
        low_x, high_x = max(int(min(x0, x1) - radius - 1), 0), min(int(max(x0, x1) + radius + 2), width)
        low_y, high_y = max(int(min(y0, y1) - radius - 1), 0), min(int(max(y0, y1) + radius + 2), height)
        for row in range(low_y, high_y):
            for column in range(low_x, high_x):
                if depth[row, column] < z:
                    continue
                px, py = column + 0.5 - x0, row + 0.5 - y0
                along = min(max((px * dx + py * dy) / squared, 0.0), 1.0)
                px, py = px - along * dx, py - along * dy
                cover = min(max(radius + 0.5 - math.sqrt(px * px + py * py), 0.0), 1.0) * strength
                for k in range(3):
                    shine = light[k] + near_light / (1.0 + 0.04 * z * z)
                    linear[row, column, k] += cover * (shine - linear[row, column, k])
