"""A spinning lidar in a world: exact ranges, then the sensor's noise and losses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.light.render import Moment, cast, colors_of, surfels_of
from jwmtool.worlds.rigs import LidarModel

Floats = NDArray[np.float64]

_NOISE_M = 0.015  # standard deviation of a range
_NEAREST_M = 0.9
_BEAM_RAD = 0.003  # divergence, over which a surface's color is averaged


def sweep(moment: Moment, world_from_lidar: Floats, model: LidarModel, seed: int = 0) -> NDArray[np.float32]:
    """One turn as if taken in no time.

    Args:
        moment: the world.
        world_from_lidar: [4, 4] rigid.
        model: beams, shots and reach.
        seed: of noise and losses.

    Returns:
        [M, 4] float32: x, y, z in the sensor's frame (metres), intensity 0 to 1. Shots that return too little light
        (far and dark, glass, aslant, in fog) are missing.
    """
    directions = beam_directions(model)
    origin = world_from_lidar[:3, 3]
    world = np.ascontiguousarray(directions @ world_from_lidar[:3, :3].T)
    origins = np.broadcast_to(origin, world.shape)
    hit = cast(moment, origins, world)
    surfels = surfels_of(moment, hit, origins, world, np.zeros(len(world)), _BEAM_RAD)
    seen = hit.rows
    albedo, _, gloss = colors_of(moment, surfels, seen)
    facing = -(surfels.facet[seen] * world[seen]).sum(1)
    # Infrared sees leaves and grass brighter than the eye does; glass and puddles send the beam elsewhere.
    reflectance = (
        albedo[seen].mean(1) * (1.0 - np.clip(6.0 * gloss[seen, 0] - 0.3, 0.0, 0.8)) * (1.0 - 0.7 * gloss[seen, 1])
    )
    distance = hit.t[seen]
    air = np.exp(-2.0 * 0.5 * moment.atmosphere.haze_per_m * distance)
    intensity = np.clip(reflectance * (0.25 + 0.75 * facing) * air, 0.0, 1.0)

    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(len(world))[seen]
    luck = rng.uniform(size=len(world))[seen]
    # Returned power falls with the square of the distance; a white wall is still seen at the model's reach.
    power = intensity * (model.max_range_m / np.maximum(distance, 1.0)) ** 2
    kept = (distance > _NEAREST_M) & (distance < model.max_range_m) & (luck < np.clip(power / 0.12, 0.0, 0.995))
    measured = distance + _NOISE_M * np.clip(noise, -3.0, 3.0)
    points = directions[seen] * measured[:, None]
    return np.column_stack([points, intensity])[kept].astype(np.float32)


def beam_directions(model: LidarModel) -> Floats:
    """Unit directions [num_azimuths * B, 3] of one turn in the sensor's frame, in the order they are shot."""
    azimuth = 2.0 * math.pi * np.arange(model.num_azimuths) / model.num_azimuths
    azimuth, elevation = np.meshgrid(azimuth, model.elevations_rad, indexing="ij")
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1).reshape(-1, 3)
