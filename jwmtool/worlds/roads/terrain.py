"""The lie of the land: smooth hills that roads, houses and actors stand on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.random_stream import Stream

Floats = NDArray[np.float64]

# Steepest slope and longest wave of each kind of world.
_SLOPE = {"city": 0.02, "suburb": 0.04, "motorway": 0.025, "country": 0.06}
_WAVE_M = {"city": 400.0, "suburb": 300.0, "motorway": 700.0, "country": 350.0}


@dataclass(frozen=True)
class Terrain:
    """Height as a sum of plane waves; `waves` [W, 4]: kx, ky (rad/m), phase, amplitude (m)."""

    waves: Floats

    def height(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] metres."""
        x, y = np.asarray(x, np.float64)[..., None], np.asarray(y, np.float64)[..., None]
        kx, ky, phase, amplitude = self.waves.T
        return np.asarray((amplitude * np.sin(kx * x + ky * y + phase)).sum(-1))

    def gradient(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[..., 2] slope towards x and y."""
        x, y = np.asarray(x, np.float64)[..., None], np.asarray(y, np.float64)[..., None]
        kx, ky, phase, amplitude = self.waves.T
        slope = amplitude * np.cos(kx * x + ky * y + phase)
        return np.stack([(kx * slope).sum(-1), (ky * slope).sum(-1)], -1)


def make_terrain(kind: str, stream: Stream) -> Terrain:
    """Four waves whose slopes add up to no more than the kind's steepest."""
    steepest = _SLOPE[kind] * stream.uniform(0.2, 1.0)
    waves = []
    for _ in range(4):
        k = 2.0 * math.pi / (_WAVE_M[kind] * stream.uniform(0.6, 1.6))
        angle = stream.uniform(0.0, 2.0 * math.pi)
        phase = stream.uniform(0.0, 2.0 * math.pi)
        waves.append([k * math.cos(angle), k * math.sin(angle), phase, 0.25 * steepest / k])
    return Terrain(np.round(np.array(waves), 7))


def state_on_ground(terrain: Terrain, x: ArrayLike, y: ArrayLike, yaw: ArrayLike, lift_m: ArrayLike = 0.0) -> Floats:
    """States [..., 6] (x, y, z, yaw, pitch, roll; see `world_from_state`) of things that stand on the terrain.

    `lift_m`: height of the surface there above the terrain (a pavement's, say).
    """
    x, y, yaw = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, y, yaw)))
    slope = terrain.gradient(x, y)
    cos, sin = np.cos(yaw), np.sin(yaw)
    along, across = cos * slope[..., 0] + sin * slope[..., 1], -sin * slope[..., 0] + cos * slope[..., 1]
    # x axis climbs by `along`: pitch turns about y, where positive is nose down.
    pitch = -np.arctan(along)
    roll = np.arctan(across * np.cos(pitch))
    z = terrain.height(x, y) + np.asarray(lift_m, np.float64)
    return np.stack([x, y, z, yaw, pitch, roll], -1)


def world_from_state(state: Floats) -> Floats:
    """[..., 4, 4] of states [..., 6]: rotate about z by yaw, then y by pitch (nose down), then x by roll (left up)."""
    x, y, z, yaw, pitch, roll = np.moveaxis(state, -1, 0)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
        [-sp, cp * sr, cp * cr, z],
        [zero, zero, zero, one],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def states_between(times_s: Floats, states: Floats, query_s: ArrayLike) -> Floats:
    """States [..., 6] at `query_s`, linear between samples [P, 6]; yaw must be unwrapped. Clamped at the ends."""
    query = np.asarray(query_s, np.float64)
    return np.stack([np.interp(query, times_s, states[:, k]) for k in range(6)], -1)
