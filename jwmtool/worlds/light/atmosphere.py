"""Light and weather of a world, drawn from its seed; and the table of its lamps.

Lights table: rows [L, 11] = position 3 (m), color 3 (light on a surface facing it at 1 m, in the atmosphere's units),
direction 3 (unit), cosine of half the cone (-1: all round; the beam fades out towards it), range (m; nothing beyond).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Atmosphere
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.spec import WorldSpec

Floats = NDArray[np.float64]
LIGHT_COLUMNS = 11

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_CLOUD = {"clear": (0.0, 0.55), "overcast": (0.85, 1.0), "rain": (0.95, 1.0), "fog": (0.9, 1.0), "snow": (0.95, 1.0)}
_HAZE = {
    "clear": (0.0003, 0.0012),
    "overcast": (0.0006, 0.002),
    "rain": (0.0015, 0.004),
    "fog": (0.014, 0.032),
    "snow": (0.003, 0.008),
}  # extinction per metre, drawn evenly in its logarithm
_LAMP_COLORS = np.array([[1.0, 0.62, 0.28], [1.0, 0.80, 0.52], [0.95, 0.93, 0.85]])  # sodium, warm and white LED


def make_atmosphere(spec: WorldSpec, stream: Stream) -> Atmosphere:
    """Draw the light of a resolved spec."""
    weather, time = spec.weather, spec.time_of_day
    azimuth = stream.uniform(0.0, 2.0 * math.pi)
    low, high = {"day": (24.0, 62.0), "dusk": (2.5, 9.0), "night": (30.0, 60.0)}[time]
    elevation = math.radians(stream.uniform(low, high))
    sun = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    hazy = stream.uniform()  # how milky a clear sky is
    near, far = _HAZE[weather]
    haze = near * (far / near) ** stream.uniform()
    cover = stream.uniform(*_CLOUD[weather])
    sunny = weather == "clear"
    if time == "day":
        red = 1.0 - 0.35 * math.exp(-5.0 * sun[2])
        sun_color = stream.uniform(1.2, 2.6) * np.array([1.0, 0.95 * red, 0.86 * red * red])
        zenith = np.array([0.10, 0.20, 0.42]) * (1.0 - hazy) + np.array([0.22, 0.32, 0.50]) * hazy
        horizon = np.array([0.46, 0.60, 0.78]) * (1.0 - hazy) + np.array([0.68, 0.72, 0.76]) * hazy
        gray = stream.uniform(0.30, 0.60)
        overcast = gray * np.array([0.96, 1.0, 1.06])
    elif time == "dusk":
        sun_color = np.array([0.60, 0.26, 0.09]) * stream.uniform(0.5, 1.0)
        zenith = np.array([0.035, 0.055, 0.13]) * stream.uniform(0.8, 1.4)
        horizon = np.array([0.26, 0.17, 0.15]) * stream.uniform(0.8, 1.3)
        overcast = np.array([0.050, 0.058, 0.078]) * stream.uniform(0.8, 1.3)
    else:
        sun_color = np.array([0.0012, 0.0015, 0.0022])  # the moon
        zenith = np.array([0.0006, 0.0009, 0.0022]) * stream.uniform(0.7, 1.5)
        horizon = np.array([0.0045, 0.0038, 0.0042]) * stream.uniform(0.7, 1.6)  # town glow
        overcast = np.array([0.0040, 0.0035, 0.0036]) * stream.uniform(0.7, 1.6)
    if not sunny:
        dim = {"overcast": 1.0, "rain": 0.75, "fog": 0.95, "snow": 1.1}[weather]
        sun_color = np.zeros(3)
        horizon = dim * overcast
        zenith = horizon * {"overcast": 1.15, "rain": 0.95, "fog": 1.05, "snow": 1.0}[weather]
    snow = stream.uniform(0.55, 1.0) if weather == "snow" else 0.0
    sky = 0.55 * zenith + 0.45 * horizon
    onto_ground = sky + sun_color * sun[2]
    albedo = np.array([0.16, 0.16, 0.15]) + 0.45 * snow
    brightness = float(onto_ground @ _LUMA)
    # A camera's automatic exposure does not quite make up for the dark: dusk stays dim.
    if time == "night":
        exposure = 3.8
    else:
        dim = {"day": 1.32, "dusk": 0.55}[time]
        exposure = dim * {"rain": 0.78, "fog": 0.62}.get(weather, 1.0) * (1.0 + 0.9 * snow) ** -0.75 * brightness**-0.75
    wet = {"rain": (0.75, 1.0), "snow": (0.1, 0.3), "fog": (0.0, 0.35)}.get(weather)
    return Atmosphere(
        weather=weather,
        time_of_day=time,
        sun_direction=sun,
        sun_color=sun_color,
        zenith=zenith,
        horizon=horizon,
        ground_bounce=onto_ground * albedo,
        cloud_cover=cover,
        cloud_seed=stream.word() % 1000,
        haze_per_m=haze,
        wetness=stream.uniform(*wet) if wet else 0.0,
        snow_cover=snow,
        rain=stream.uniform(0.4, 1.0) if weather == "rain" else 0.0,
        snowfall=stream.uniform(0.3, 1.0) if weather == "snow" else 0.0,
        lamps=time != "day",
        exposure=exposure,
    )


def lamp_rows(heads: Floats) -> Floats:
    """Street lamps: lights [L, 11] that shine down from heads [L, 3]. All of a world's have one color."""
    rows = np.zeros((len(heads), LIGHT_COLUMNS))
    if not len(heads):
        return rows
    # The color hangs on where the lamps stand, to the metre: the same in every frame, another in every world.
    kind = int(abs(round(float(heads[0].sum())))) % len(_LAMP_COLORS)
    height = 7.0
    rows[:, :3] = heads
    rows[:, 3:6] = 0.65 * height**2 * _LAMP_COLORS[kind]
    rows[:, 6:9] = (0.0, 0.0, -1.0)
    rows[:, 9] = math.cos(math.radians(76.0))
    rows[:, 10] = 30.0
    return rows


def headlight_rows(world_from_body: Floats, fronts: Floats) -> Floats:
    """Headlights: lights [L, 11] of a vehicle at world_from_body [4, 4], lamps at fronts [L, 3] in its frame."""
    rows = np.zeros((len(fronts), LIGHT_COLUMNS))
    dip = math.radians(3.0)
    rotation = world_from_body[:3, :3]
    rows[:, :3] = fronts @ rotation.T + world_from_body[:3, 3]
    rows[:, 3:6] = 52.0 * np.array([1.0, 0.95, 0.84])
    rows[:, 6:9] = rotation @ np.array([math.cos(dip), 0.0, -math.sin(dip)])
    rows[:, 9] = math.cos(math.radians(38.0))
    rows[:, 10] = 60.0
    return rows
